"""What holds for every test."""

import signal

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.budgets"]

# A shell's background job ignores SIGINT, and so would every process that a test starts and ends with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On a machine with other work any example may be slow.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side (`pytest -n`), tests that share one stack of daemons share a worker as well."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("stack"))
