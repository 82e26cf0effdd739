"""The units run by a real systemd, hardened as they are, on a closed loop of real daemons: what the page says of them.

It needs root. The systemd of this machine boots in namespaces of its own, on a copy of its files that is thrown away.
Traffic overloads a link all the time, so that overrides stand while something happens to the processes.
"""

import os
import re
import signal
from collections.abc import AsyncIterator, Collection
from typing import NamedTuple

import pytest
import pytest_asyncio

from app.clock import SystemClock
from tests.patience import PATIENCE_S
from tests.systemd.host import (
    ACTUATOR,
    CELL,
    COLLECTORS,
    ENABLED,
    GOBGPDS,
    KEYS,
    LEASE_S,
    READY,
    REAPERS,
    ROUTERS,
    STATE_PORT,
    TELEMETRY,
    UNITS_RUN,
    VIEW,
    Edges,
    Host,
    booted,
    edges,
    has_booted,
    until,
)
from tests.systemd.test_units import EXPOSURE_MAX, OURS

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

CLOCK = SystemClock()
NO_EXIT = "exit-not-shown"  # the router by which traffic of another one leaves has lost its override
OF_THE_LOOP = {"source-path-lost", "natural-load-fits", "already-natural", "ineffective"}
FOLLOWED = ROUTERS[0]  # it streams what changes; of the other one, whose table is asked for, a busy machine misses it
WORKERS = (TELEMETRY, ACTUATOR)
SETTINGS = "/etc/autopilot/autopilot.toml"
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
READ = "cat {} >/dev/null"
CONNECT = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/run/autopilot/{}.sock\")'"


class Site(NamedTuple):
    host: Host
    edges: Edges

    async def all_are_well(self) -> None:
        """Every unit runs, every process is ready, and every router uses overrides that its gobgpd holds."""
        host = self.host
        await until("not all run", lambda: all(map(host.runs, UNITS_RUN)), host)
        await until("not all are ready", lambda: all(host.web(path) for path in READY.values()), host)
        await until("a gobgpd has no routes", lambda: all(map(host.held, ROUTERS)), host)
        await self.edges.see(lambda overrides: overrides > 0)

    async def goes_on(self) -> None:
        """Telemetry closes windows, and the actuator renews every lease, from now on."""
        now_s, host = CLOCK.now_s(), self.host
        await until("no window is closed", lambda: closed_up_to_s(host) > now_s, host)
        await until("leases are not renewed", lambda: all(min(sent(host, each)) > now_s for each in ROUTERS), host)

    def ended(self, since_s: float) -> set[str]:
        """Why overrides ended since then, other than by the change of traffic and routes that always goes on."""
        why = set(re.findall(r" withdrawn, (?:released: )?([^\"]+)", self.host.log(ACTUATOR, since_s))) - OF_THE_LOOP
        return why | {reaper for reaper in REAPERS if "withdrawing" in self.host.log(reaper, since_s)}

    async def lost_for_a_while(self) -> set[str]:
        """The routers that used no override at some time since the last call."""
        return {router for router, used in (await self.edges.ask()).items() if not used["least"]}

    def pids(self) -> dict[str, int]:
        return {unit: self.host.pid(unit) for unit in UNITS_RUN}


def closed_up_to_s(host: Host) -> float:
    progress = host.web(f"{STATE_PORT}/state/progress") or {CELL: {}}
    return float(progress[CELL].get("closed_up_to_s") or 0)


def sent(host: Host, router: str) -> Collection[float]:
    """When each route beside a router was sent; never, if there is none."""
    return host.held(router).values() or (0.0,)


def append(host: Host, text: str) -> None:
    host.sh(f"printf '{text}' >>{SETTINGS}")


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """The units whose main process is another."""
    return {unit for unit in UNITS_RUN if before[unit] != after[unit]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp(f"systemd-{os.getpid()}-")
    async with booted(folder) as host:
        host.run("systemctl", "enable", "autopilot.target", *ENABLED)
        host.run("systemctl", "start", "autopilot.target")
        await until("not all run", lambda: all(map(host.runs, UNITS_RUN)), host)
        async with edges(host, folder / "edges") as routers:
            yield Site(host, routers)


@pytest_asyncio.fixture(loop_scope="module")
async def site(running: Site) -> Site:
    """All is well before each test, whatever the one before has done."""
    await running.all_are_well()
    return running


@pytest.mark.parametrize("unit", UNITS_RUN)
async def test_a_unit_runs_with_all_its_hardening(site: Site, unit: str) -> None:
    host, pid = site.host, site.host.pid(unit)
    status = dict(line.split(":", 1) for line in host.run("cat", f"/proc/{pid}/status").splitlines())
    assert not {"0"} & set(status["Uid"].split() + status["Gid"].split() + status["Groups"].split())
    assert [int(status[key], 16) for key in CAPABILITIES] == [0] * len(CAPABILITIES)
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2"), "2 is a filter"
    host.run("systemd-analyze", "security", "--no-pager", f"--threshold={EXPOSURE_MAX}", unit)

    inside = ("nsenter", "-t", str(pid), "-m", "--", "sh", "-c")
    for path in ("/usr", "/etc", "/etc/autopilot", "/opt", "/var/lib", "/proc/sys/kernel/hostname"):
        said = host.run(*inside, f"touch {path}/here 2>&1 || true")
        assert "Read-only file system" in said or "Not a directory" in said, said
    assert host.run(*inside, "ls -A /root /home /tmp; ls /dev/kmsg /dev/vda 2>/dev/null || true").split() == [
        *("/home:", "/root:", "/tmp:")
    ]
    assert limit_bytes(host, pid) == int(host.get(unit, "MemoryMax"))


def limit_bytes(host: Host, pid: int) -> int:
    """The memory that the group of a process may have, as the kernel has it."""
    groups = dict(line.split(":", 2)[1:] for line in host.run("cat", f"/proc/{pid}/cgroup").splitlines())
    if "memory" in groups:
        return int(host.run("cat", f"/sys/fs/cgroup/memory{groups['memory']}/memory.limit_in_bytes"))
    return int(host.run("cat", f"/sys/fs/cgroup{groups['']}/memory.max"))


async def test_no_process_may_what_is_anothers(site: Site) -> None:
    host = site.host

    def who_may(command: str) -> set[str]:
        return {unit for unit in UNITS_RUN if host.does(*acting_as(host, unit), "sh", "-c", command)}

    of_gobgp = {*GOBGPDS, *REAPERS}
    assert who_may(READ.format(SETTINGS)) == {*READY, *of_gobgp}
    assert who_may(READ.format(KEYS["decisions"])) == {TELEMETRY}
    assert who_may(CONNECT.format(ROUTERS[0])) == {ACTUATOR, *of_gobgp}
    assert who_may(f"ls /var/lib/autopilot/{TELEMETRY.replace('@', '-')}") == {TELEMETRY}
    assert who_may(f"ls /var/lib/autopilot/{ACTUATOR.replace('@', '-')}") == {ACTUATOR}


def acting_as(host: Host, unit: str) -> tuple[str, ...]:
    """A command line that has user and groups of the main process of a unit."""
    status = dict(line.split(":", 1) for line in host.run("cat", f"/proc/{host.pid(unit)}/status").splitlines())
    user, group, groups = status["Uid"].split()[0], status["Gid"].split()[0], ",".join(status["Groups"].split())
    return "setpriv", "--reuid", user, "--regid", group, *(("--groups", groups) if groups else ("--clear-groups",))


@pytest.mark.parametrize("unit", UNITS_RUN)
async def test_what_is_killed_comes_back(site: Site, unit: str) -> None:
    host, before, since_s = site.host, site.pids(), CLOCK.now_s()
    restarts = int(host.get(unit, "NRestarts"))
    host.run("kill", "-KILL", str(before[unit]))
    await until("it stays dead", lambda: host.runs(unit) and host.pid(unit) != before[unit], host)
    await site.goes_on()
    without = {router for router in ROUTERS if unit == f"gobgpd@{router}"}
    assert changed(before, site.pids()) == {unit, *map("autopilot-reaper@{}".format, without)}
    assert int(host.get(unit, "NRestarts")) == restarts + 1
    assert site.ended(since_s) <= ({NO_EXIT} if without else set())
    assert await site.lost_for_a_while() >= without & {FOLLOWED}


async def test_a_frozen_gobgpd_is_ended_by_its_reaper(site: Site) -> None:
    host, before, since_s = site.host, site.pids(), CLOCK.now_s()
    gobgpd, reaper = GOBGPDS[0], REAPERS[0]
    host.run("kill", f"-{signal.SIGSTOP}", str(before[gobgpd]))
    await until("gobgpd stays", lambda: host.runs(gobgpd) and host.pid(gobgpd) != before[gobgpd], host)
    assert "ending it" in host.log(reaper, since_s)
    await site.goes_on()
    assert changed(before, site.pids()) == {gobgpd, reaper}
    assert FOLLOWED in await site.lost_for_a_while(), "better none than one that nobody can end"


async def test_a_reload_takes_a_changed_file_over_and_restarts_nothing(site: Site) -> None:
    host, before, text, since_s = site.host, site.pids(), site.host.run("cat", SETTINGS), CLOCK.now_s()
    append(host, "[thresholds]\\nenter = 0.93\\n")
    host.run("systemctl", "reload", *WORKERS)
    await until("not taken over", lambda: all("0.93" in host.log(unit, since_s) for unit in WORKERS), host)

    append(host, "entr = 0.94\\n")
    host.run("systemctl", "reload", *WORKERS)
    await until("the mistake is not named", lambda: all("entr" in host.log(unit, since_s) for unit in WORKERS), host)

    host.sh(f"cat >{SETTINGS} <<'END'\n{text}END")
    assert host.does(OURS, "reload")
    host.run("systemctl", "reload", *COLLECTORS)
    await site.goes_on()
    assert changed(before, site.pids()) == set()
    assert site.ended(since_s) == set()


async def test_what_is_changed_for_good_is_there_after_the_restarts_of_the_page(site: Site) -> None:
    host, before, since_s = site.host, site.pids(), CLOCK.now_s()
    shorter_s = LEASE_S - 30
    host.sh(f"sed -i 's/lease_s = .*/lease_s = {shorter_s}.0/' {SETTINGS}")
    host.sh(f"sed -i 's/--lease-s .*/--lease-s {shorter_s}/' /etc/autopilot/reaper.env")
    host.sh(f"echo AUTOPILOT_LOG_FORMAT=text >/etc/autopilot/{TELEMETRY}.env")
    host.run("systemctl", "restart", "autopilot-telemetry@*", "autopilot-actuator@*", "autopilot-reaper@*", VIEW)
    await until("not all run", lambda: all(map(host.runs, UNITS_RUN)), host)
    await site.goes_on()
    assert changed(before, site.pids()) == {*READY, *REAPERS}
    for reaper in REAPERS:
        assert f"--lease-s\0{shorter_s}\0" in host.run("cat", f"/proc/{host.pid(reaper)}/cmdline")
    assert "AUTOPILOT_LOG_FORMAT=text" in host.run("cat", f"/proc/{host.pid(TELEMETRY)}/environ")
    assert site.ended(since_s) == set()


async def test_a_restart_of_the_collectors_leaves_overrides_where_they_are(site: Site) -> None:
    host, before, since_s = site.host, site.pids(), CLOCK.now_s()
    host.run("systemctl", "restart", *COLLECTORS)
    await site.goes_on()
    assert changed(before, site.pids()) == {*COLLECTORS}
    assert site.ended(since_s) == set()


async def test_a_restart_of_the_broker_ends_nothing(site: Site) -> None:
    host, before, since_s = site.host, site.pids(), CLOCK.now_s()
    host.run("systemctl", "restart", "kafka")
    await site.goes_on()
    assert changed(before, site.pids()) == set()
    assert site.ended(since_s) == set()


async def test_a_restart_of_a_gobgpd_takes_the_overrides_of_its_router_away_and_its_reaper_along(site: Site) -> None:
    host, before, since_s = site.host, site.pids(), CLOCK.now_s()
    host.run("systemctl", "restart", GOBGPDS[0])
    await until("the reaper stays away", lambda: host.runs(REAPERS[0]), host)
    await site.goes_on()
    assert changed(before, site.pids()) == {GOBGPDS[0], REAPERS[0]}
    assert site.ended(since_s) <= {NO_EXIT}
    assert FOLLOWED in await site.lost_for_a_while()


async def test_without_an_actuator_the_reapers_end_what_is_past_its_lease(site: Site) -> None:
    host, since_s = site.host, CLOCK.now_s()
    host.run("systemctl", "stop", ACTUATOR)
    assert all(map(host.held, ROUTERS)), "a stop takes nothing away: a restart may follow"
    await until("routes stay", lambda: not any(map(host.held, ROUTERS)), host, LEASE_S + PATIENCE_S)
    assert all("past their lease" in host.log(reaper, since_s) for reaper in REAPERS)
    host.run("systemctl", "start", ACTUATOR)
    await site.all_are_well()


async def test_the_target_stops_everything_and_starts_it_again(site: Site) -> None:
    host = site.host
    host.run("systemctl", "stop", "autopilot.target")  # it does not wait for what the target takes along
    await until("some go on", lambda: {host.get(unit, "ActiveState") for unit in UNITS_RUN} == {"inactive"}, host)
    results = {host.get(unit, "Result") for unit in UNITS_RUN}
    assert results == {"success"}, "what is killed because its time is over has failed"
    await site.edges.see(lambda overrides: overrides == 0)
    host.run("systemctl", "start", "autopilot.target")
    await site.all_are_well()
    await site.goes_on()


async def test_all_of_it_is_there_after_a_reboot(site: Site) -> None:
    host, first = site.host, site.host.first
    host.does("systemctl", "reboot")  # the command may end with the system
    await until("it does not reboot", lambda: host.first not in (None, first))
    await has_booted(host)
    await site.all_are_well()
    await site.goes_on()
    assert host.get("autopilot.target", "ActiveState") == "active"
