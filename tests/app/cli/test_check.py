"""`autopilot check`: what it reports of a deployment whose broker, topics and gobgpds are faked."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.cli import check, situation
from app.cli.check import Report, own_contradictions, unwritable
from app.cli.injectors import InjectorAnswer
from app.cli.show import Halts
from app.clock import Clock, ManualClock, utc
from app.config.gobgp_settings import Gobgp
from app.config.inventory import Injector
from app.config.settings import Deployment, Settings
from app.contract.schemas import Control, Notice, RouterHeard
from app.web.conditions import Seen, notices
from tests.app.cli.test_main import deployment, run
from tests.app.web.records import WINDOW_S, heard, sources, status
from tests.pops import demo_pop

POP = "rhv1000"
END_S = 1_700_000_000 + WINDOW_S
WELL = Seen(END_S + 5, WINDOW_S, sources(END_S - WINDOW_S), status(END_S), "auto", END_S, frozenset())
HALT = Control(pop=POP, halt=True, by="ada", at=utc(END_S))
WELL_ANSWERED = InjectorAnswer(None, received=900)
DEAD = InjectorAnswer("unix:///injector-r1.sock: GetBgp failed: no connection; is gobgpd running?")


async def reported(
    monkeypatch: pytest.MonkeyPatch,
    seen: Seen,
    settings: Settings | None = None,
    halts: Halts | None = None,
    wrong: dict[tuple[str, str], list[str]] | None = None,
    **answers: Any,
) -> Report:
    """The report on the demo's PoP, of which this was seen, and whose gobgpds answer well unless given otherwise."""
    pop = demo_pop()

    async def no_problem(*_: object) -> tuple[list[str], bool]:
        return [], True

    async def asked(*_: object) -> dict[tuple[str, str], InjectorAnswer]:
        return {(POP, router): answers.get(router, WELL_ANSWERED) for router in pop.routers}

    async def judged(*_: object) -> dict[tuple[str, str], list[str]]:
        return wrong or {}

    async def known(*_: object) -> situation.Situation:
        return situation.Situation(halts or {}, {POP: seen}, {POP: notices(pop, seen)})

    monkeypatch.setattr(check, "_broker_problems", no_problem)
    monkeypatch.setattr(check, "ask_all", asked)
    monkeypatch.setattr(check, "of_injectors", judged)
    monkeypatch.setattr(check, "situation", known)
    return await check.report(Deployment(settings or Settings(pops=("a",)), {POP: pop}), ManualClock(seen.now_s))


async def test_a_deployment_that_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    report = await reported(monkeypatch, WELL)
    assert report.problems == []
    assert list(report.routers) == [f"{POP}/r1", f"{POP}/r2"]
    router = report.routers[f"{POP}/r1"]
    assert (router.flows_heard_s, router.counters_heard_s, router.bmp_heard_s) == (5.0, 5.0, 5.0)
    assert (router.bmp_statistics, router.injector) == (True, "ok")
    assert set(report.components[POP].values()) == {"up"}
    assert check.sentences(report)[0] == (
        "rhv1000/r1: heard: flows 5 s ago, counters 5 s ago, BMP 5 s ago (with statistics); injector: ok;"
        " unix socket /nonexistent/injector-r1.sock, not seen from here;"
        " imports: not readable while no override stands there;"
        " exports: 900 paths to its injector; to neighbours not readable"
    )


async def test_pmbmpd_one_gobgpd_and_the_actuator_dead_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    old = heard(END_S - 40, doubtful=True)
    seen = WELL._replace(now_s=END_S + 25, sources=sources(END_S - WINDOW_S, r1=old, r2=old), silent={f"bmp-{POP}"})
    report = await reported(monkeypatch, seen, r1=DEAD)
    assert [problem.partition(".")[0] for problem in report.problems] == [
        "rhv1000: pmbmpd writes nothing to bmp-rhv1000, so the routes may be out of date",
        f"rhv1000: The actuator has not been heard since {status(END_S).at:%Y-%m-%d %H:%M:%S} UTC: decisions are not"
        " carried out, and nothing renews or withdraws overrides",
        "rhv1000/r1: injector: unix:///injector-r1",
    ]
    assert report.routers[f"{POP}/r1"].injector == DEAD.problem
    assert report.components[POP]["actuator"] == report.components[POP]["pmbmpd"] == "down"


async def test_a_halted_pop_is_named_with_who_halted_it(monkeypatch: pytest.MonkeyPatch) -> None:
    report = await reported(monkeypatch, WELL, halts={POP: HALT})
    assert report.problems == [
        f"rhv1000 was halted by ada at {HALT.at:%Y-%m-%d %H:%M:%S} UTC: no override is announced until `resume`"
    ]


async def test_telemetry_that_was_never_seen_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    report = await reported(monkeypatch, WELL._replace(sources=None, window_end_s=None))
    assert report.problems == [
        "rhv1000: telemetry has published no window yet. If sfacctd-flows-rhv1000 is written to, start"
        " `autopilot telemetry --cell rhv1000`; if not, start sfacctd first"
    ]


async def test_what_telemetry_reports_is_a_problem_too(monkeypatch: pytest.MonkeyPatch) -> None:
    differs = Notice("as-differs", "r1/127.0.0.31", "BMP says AS 64699, the inventory 64601: one of them is wrong.")
    seen = WELL._replace(sources=sources(END_S - WINDOW_S, differs))
    assert (await reported(monkeypatch, seen)).problems == [f"rhv1000: {differs.where}: {differs.text}"]


async def test_a_router_without_heartbeat_and_one_without_paths_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = WELL._replace(sources=sources(END_S - WINDOW_S, r2=heard(END_S, statistics=False)))
    report = await reported(monkeypatch, seen, r1=InjectorAnswer(None))
    first, second = report.problems
    assert first.startswith("rhv1000/r1: the router sends nothing to its injector, which so cannot see that a path is")
    assert second.startswith(
        "rhv1000/r2: sends no BMP statistics, so it is doubted whenever it is quiet: let it send BMP statistics reports"
    )


async def test_before_the_first_start_it_says_what_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(pops=("a",), cells={"west": (POP,)})
    report = await reported(monkeypatch, Seen(END_S, WINDOW_S), settings)
    assert report.problems == [
        "rhv1000: telemetry has published no window yet. If sfacctd-flows-rhv1000 is written to, start"
        " `autopilot telemetry --cell west`; if not, start sfacctd first",
        "rhv1000: no actuator was heard; start it: `autopilot actuator --cell west`",
    ]
    assert report.routers[f"{POP}/r1"].flows_heard_s is None
    observing = await reported(monkeypatch, Seen(END_S, WINDOW_S), Settings(pops=("a",), mode="observe"))
    assert len(observing.problems) == 1, "whoever only observes needs no actuator"


async def test_routers_that_were_never_heard_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    report = await reported(monkeypatch, WELL._replace(sources=sources(END_S - WINDOW_S, r2=RouterHeard())))
    assert len(report.problems) == 3
    assert all(problem.startswith("rhv1000: r2: ") for problem in report.problems)
    assert "is its sysName 'r2' (bmp_sysname)?" in report.problems[2]


def test_the_document_and_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {"problems": ["rhv1000: x"]}

    async def report(deployment: Deployment, clock: Clock, running: bool, configs: object) -> Report:
        assert running
        assert configs == {}
        return Report(**answers)

    monkeypatch.setattr(check, "report", report)
    result = run("check", "--json", "--config", deployment(tmp_path))
    assert result.exit_code == 1
    empty: dict[str, Any] = {"marks": {}, "routers": {}, "components": {}, "keys": [], "warnings": []}
    assert json.loads(result.stdout) == {"ok": False, "problems": ["rhv1000: x"], **empty}
    assert run("check", "--config", deployment(tmp_path)).stdout == "- rhv1000: x\n"
    answers["problems"] = []
    result = run("check", "--config", deployment(tmp_path))
    assert (result.exit_code, result.stdout) == (0, "No problems found.\n")


async def test_what_a_gobgpd_lets_pass_is_named_with_its_router(monkeypatch: pytest.MonkeyPatch) -> None:
    report = await reported(monkeypatch, WELL, wrong={(POP, "r2"): ["it also speaks to 192.0.2.9"]})
    assert report.problems == ["rhv1000/r2: injector: it also speaks to 192.0.2.9"]


def test_a_gobgpd_over_tcp_without_tls_is_a_mistake() -> None:
    injector = Injector("127.0.0.21", "203.0.113.101:50051")
    router = msgspec.structs.replace(demo_pop().router[0], injector=injector)
    pop = msgspec.structs.replace(demo_pop(), router=(router, demo_pop().router[1]))
    plain, secured = Settings(pops=("a",)), Settings(pops=("a",), gobgp=Gobgp("ca", "cert", "key"))
    (said,) = own_contradictions(Deployment(plain, {POP: pop}))
    assert said.startswith(
        "rhv1000/r1: injector.grpc 203.0.113.101:50051 is TCP without TLS, so whoever reaches it may"
    )
    assert own_contradictions(Deployment(secured, {POP: pop})) == []


def test_it_says_what_the_policies_of_the_routers_must_match(tmp_path: Path) -> None:
    result = run("check", "--offline", "--config", deployment(tmp_path))
    marks = "rhv1000: our routes carry the community 64512:911 and the local-pref 1000"
    unsigned = "decisions and orders need no signature: nothing is announced in mode dry-run"
    assert result.stdout == f"{unsigned}\n{marks}\nNo problems found.\n"
    result = run("check", "--offline", "--json", "--config", deployment(tmp_path))
    assert json.loads(result.stdout)["marks"] == {"rhv1000": {"community": "64512:911", "local_pref": 1000}}


def test_folders_that_cannot_be_written_to_are_named_with_their_key(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def settings(data_dir: str = f"{tmp_path}/new/data", halt_file: str = f"{tmp_path}/halt") -> Settings:
        return Settings(pops=("a",), data_dir=data_dir, halt_file=halt_file)

    assert unwritable(settings()) == []
    assert not (tmp_path / "new").exists(), "a check makes nothing"
    (said,) = unwritable(settings(data_dir=str(tmp_path / "file" / "data")), offline=True)
    assert said.startswith(f"data_dir: {tmp_path}/file/data cannot be made in {tmp_path}/file: not a directory")
    (said,) = unwritable(settings(halt_file="/proc/nope/halt"))
    assert said.startswith("halt_file: /proc/nope cannot be made in /proc")


def test_a_lack_of_permission_counts_only_on_the_host_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("app.config.folders.tempfile.TemporaryFile", refuse)
    settings = Settings(pops=("a",), data_dir=str(tmp_path), halt_file=str(tmp_path / "halt"))
    assert unwritable(settings, offline=True) == []
    assert unwritable(settings)[0].startswith(f"data_dir: {tmp_path}: permission denied; let this user write there")
