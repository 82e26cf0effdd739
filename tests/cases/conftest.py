"""What the cases on the wire need."""

import os
import shutil

import pytest

from app.lab.daemons.machine import SEARCH_PATH


@pytest.fixture(scope="session")
def pmacct() -> None:
    """Asked for by tests that run sfacctd or pmbmpd."""
    missing = [name for name in ("sfacctd", "pmbmpd", "setpriv") if shutil.which(name, path=SEARCH_PATH) is None]
    if missing and os.environ.get("AUTOPILOT_REQUIRE_SERVICES") == "1":
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
