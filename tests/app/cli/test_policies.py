"""Where `check` reads the policies of routers, and what it says of what it cannot read."""

import json
from pathlib import Path

import msgspec
import pytest

from app.cli.policies import by_router
from app.errors import ConfigError
from app.routers import docs
from tests.app.cli.test_main import deployment, run
from tests.pops import demo_pop

POPS = {"rhv1000": demo_pop(), "ams1": docs.example()}


def test_routers_by_name_or_by_pop_and_name() -> None:
    assert by_router(POPS, ("r1=a.conf", "ams1/edge1=unix:///run/g.sock")) == {
        ("rhv1000", "r1"): "a.conf",
        ("ams1", "edge1"): "unix:///run/g.sock",
    }


@pytest.mark.parametrize(("option", "said"), [("r9=a", "write ROUTER=WHERE"), ("r1", "write ROUTER"), ("r1=", "write")])
def test_what_fits_no_router_is_refused(option: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        by_router(POPS, (option,))


def test_a_name_of_two_pops_needs_the_pop() -> None:
    with pytest.raises(ConfigError, match="several PoPs have that router: write POP/ROUTER=WHERE"):
        by_router({"a": demo_pop(), "b": msgspec.structs.replace(demo_pop(), name="b")}, ("r1=x",))


def test_problems_of_a_saved_configuration_are_listed_offline_with_exit_code_1(tmp_path: Path) -> None:
    saved = tmp_path / "r2.conf"
    saved.write_text("router bgp 64512\n neighbor 127.0.0.34 remote-as 64604\n")
    result = run("check", "--offline", "--json", "--config", deployment(tmp_path), "--router-config", f"r2={saved}")
    assert result.exit_code == 1
    problems = json.loads(result.stdout)["problems"]
    assert problems[0] == (
        "rhv1000/r2: has no BGP session with its injector 127.0.0.22: add `neighbor 127.0.0.22 remote-as 64512`"
    )
    assert any(
        text.startswith("rhv1000/r2: has no export policy to its eBGP neighbour 127.0.0.34 (IPv4)") for text in problems
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read: No such file or directory"), (b"\xff\xfe", "has no `router bgp` (in the default VRF)")],
)
def test_what_cannot_be_read_is_a_problem(tmp_path: Path, content: bytes | None, said: str) -> None:
    saved = tmp_path / "r2.conf"
    if content is not None:
        saved.write_bytes(content)
    result = run("check", "--offline", "--config", deployment(tmp_path), "--router-config", f"r2={saved}")
    assert result.exit_code == 1
    assert said in result.stdout
