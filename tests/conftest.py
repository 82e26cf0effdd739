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


# They take minutes, mostly waiting.
LONGEST = ("test_demo.py", "test_faults_short.py", "test_actuator_faults.py", "test_demo_shows.py", "test_foreign.py")


@pytest.hookimpl(tryfirst=True)  # pytest-xdist names the groups in its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side (`pytest -n`), the longest tests begin first, and tests that share one stack share a worker."""
    items.sort(key=lambda item: (item.path.name not in LONGEST, item.get_closest_marker("services") is None))
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("stack"))
