"""Real daemons for tests that carry the mark `services`."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from app.errors import EnvironmentProblem


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """Round what starts daemons: where one is missing the test is skipped, or fails where services are required."""
    try:
        yield
    except EnvironmentProblem as problem:
        if os.environ.get("AUTOPILOT_REQUIRE_SERVICES") == "1":
            pytest.fail(str(problem))
        pytest.skip(str(problem))
