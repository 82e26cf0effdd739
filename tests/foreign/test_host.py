"""A machine on which these tests cannot run is named with what it lacks."""

import os

import pytest

from tests.foreign import host


def test_without_root_and_daemons_each_lack_has_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(host, "SEARCH_PATH", "")
    lacking = host.problems()
    assert "run them as root" in lacking[0]
    assert any("ovs-vswitchd is not installed: install the package openvswitch-switch" in each for each in lacking)
