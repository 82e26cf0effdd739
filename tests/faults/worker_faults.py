"""Faults of the worker and its machine."""

import asyncio
import re
import signal

from app.config.inventory import load_pop
from tests.faults.rig import WINDOWS, Rig
from tests.faults.traffic import LONGEST_S
from tests.faults.worker import Worker
from tests.patience import PATIENCE_S

FROZEN_S = 10.0  # past the session of 6 s


async def pause(rig: Rig, least_s: float, most_s: float) -> None:
    """A random while of the row's own seed."""
    await asyncio.sleep(rig.random.uniform(least_s, most_s))


async def sigkill(rig: Rig, wipe: bool = False) -> None:
    """At a random moment: while it works, and once in five again while it starts."""
    again = rig.random.random() < 0.2
    await pause(rig, 0.0, 1.5)
    async with rig.fault():
        await rig.worker.kill(wipe)
    if again:
        await pause(rig, 0.5, 8.0)
        async with rig.fault():
            await rig.worker.kill(wipe)
    await rig.goes_on()


async def sigkill_wiped(rig: Rig) -> None:
    """With its local disk: everything comes back from the changelog."""
    await sigkill(rig, wipe=True)


async def frozen(rig: Rig) -> None:
    """SIGSTOP past the session: the group forgets it, the fence ends it when it thaws."""
    await pause(rig, 0.0, 1.5)
    async with rig.fault():
        await _freeze(rig, rig.worker)
    await rig.goes_on()


async def frozen_with_standby(rig: Rig) -> None:
    """The standby takes over, then the frozen one thaws and must not write."""
    await pause(rig, 0.0, 1.5)
    active = await rig.active()
    async with rig.fault():
        active.signal(signal.SIGSTOP)
        await rig.goes_on()
    if await rig.active() is active:
        rig.problems.append("the frozen worker is the furthest: nobody took over")
    await _thaw(rig, active)
    await rig.goes_on()


async def sigkill_with_standby(rig: Rig) -> None:
    """The standby takes over, and whoever was killed comes back as the standby."""
    await pause(rig, 0.0, 1.5)
    active = await rig.active()
    async with rig.fault():
        await active.kill()
    await rig.goes_on()
    await asyncio.sleep(FROZEN_S)  # the killed one joins and warms up


async def sigterm(rig: Rig) -> None:
    """A rolling restart."""
    await pause(rig, 0.0, 1.5)
    async with rig.fault():
        if code := await rig.worker.stop():
            rig.problems.append(f"SIGTERM: exit code {code}")
        await rig.worker.start()
    await rig.goes_on()


async def commits_set(rig: Rig) -> None:
    """An administrator sets the group's commits to the ends of its topics, past what the worker has read."""
    async with rig.fault():
        await rig.worker.end()
        await asyncio.sleep(rig.random.uniform(4.0, 8.0))
        await rig.set_commits_to_end()
        await rig.worker.start()
    await rig.goes_on()


async def outage(rig: Rig, seconds: float) -> None:
    """Nobody reads for a while; afterwards every window has its counters, for all of them are in Kafka."""
    rig.has_counters = True
    async with rig.fault():
        await rig.worker.end()
        await asyncio.sleep(seconds)
        await rig.worker.start()
    await rig.goes_on()


async def pair_killed(rig: Rig) -> None:
    """Both workers of a pair, at once, and started again at once on what came meanwhile."""
    async with rig.fault():
        await asyncio.gather(*(worker.end() for worker in rig.workers))
        await asyncio.sleep(rig.random.uniform(2.0, 12.0))
        await asyncio.gather(*(worker.start() for worker in rig.workers))
    await rig.goes_on()


async def disk_full(rig: Rig) -> None:
    """No byte is left on its disk for a while."""
    filler = rig.run_dir / "data" / "filler"
    async with rig.fault():
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
            except OSError:
                pass
        await pause(rig, 10.0, 15.0)
        filler.unlink()
    await rig.goes_on()


async def clock_wrong(rig: Rig) -> None:
    """Ten minutes ahead, then ten minutes behind, then right again."""
    right = rig.worker.argv
    for skew_s in ("600", "-600"):
        async with rig.fault():
            await rig.worker.stop()
            arguments = rig.arguments("worker", rig.worker.port)
            rig.worker.argv = (right[0], "-m", "tests.faults.skewed", skew_s, "telemetry", *arguments)
            await rig.worker.start()
        await rig.goes_on()
    rig.worker.argv = right
    await rig.worker.kill()
    await rig.goes_on()


async def other_windows(rig: Rig) -> None:
    """Windows of 4 s, of 1 s, and as they were, by a restart at any moment, each until some were closed."""
    for length_s in (4, 1, WINDOWS.length_s):
        rig.lengths_s.add(length_s)
        await pause(rig, 0.0, 3.0)
        text = rig.settings_file.read_text(encoding="utf-8")
        rig.settings_file.write_text(re.sub("length_s = [0-9]+", f"length_s = {length_s}", text), encoding="utf-8")
        await sigterm(rig)
        await rig.closes_beyond(rig.clock.now_s() + 2 * LONGEST_S)


async def other_links(rig: Rig) -> None:
    """A link is gone, renamed, at another router, and as it was; the feed waits for each restart."""
    path, traffic = rig.inventories[rig.feed.pop.name], rig.feed.traffic
    text, table = path.read_text(encoding="utf-8"), "[[link]]\n"
    others, gone = text.rsplit(table, 1)
    name, port = rig.feed.pop.link[-1].name, (rig.feed.pop.link[-1].router, rig.feed.pop.link[-1].ifindexes[0])
    renamed = gone.replace(f'name = "{name}"', 'name = "renamed"')
    moved = renamed.replace('router = "r2"', 'router = "r1"').replace(f"[{port[1]}]", "[901]")
    for inventory in (others, others + table + renamed, others + table + moved, text):
        await pause(rig, 0.0, 3.0)
        await rig.feed.pause()
        await rig.goes_on()
        path.write_text(inventory, encoding="utf-8")
        traffic.mix.renumbered = {port: port[1]} if inventory is others else {}
        traffic.pop = rig.feed.pop if inventory is others else load_pop(path)
        async with rig.fault():
            if code := await rig.worker.stop():
                rig.problems.append(f"SIGTERM: exit code {code}")
            await rig.worker.start()
        rig.feed.resume()
        await rig.goes_on()


async def _freeze(rig: Rig, worker: Worker) -> None:
    worker.signal(signal.SIGSTOP)
    await asyncio.sleep(FROZEN_S)
    await _thaw(rig, worker)


async def _thaw(rig: Rig, worker: Worker) -> None:
    """The fence must end it."""
    before = worker.exits.total()
    worker.signal(signal.SIGCONT)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while worker.exits.total() == before:
                await asyncio.sleep(0.1)
    except TimeoutError:
        rig.problems.append(f"the stall fence did not end a worker within {PATIENCE_S:g} s after it thawed")
