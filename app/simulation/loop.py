"""Virtual time and processes: each process has its own event loop, and a seeded scheduler chooses which one runs.

The real asyncio code of the product runs on these loops unchanged. A killed process is simply never stepped again, a
frozen one is stepped later. Nothing here sleeps or reads a clock.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, cast

from app.clock import ManualClock

EVENTS_KEPT = 60


class Died(BaseException):
    """The process has ended in the middle of its work. A BaseException, so the product's handlers do not catch it."""


class Violation(Exception):
    """An invariant does not hold; the message begins with its number."""


class _NoSelector:
    def select(self, timeout: float | None) -> list[Any]:
        return []


class StepLoop(asyncio.BaseEventLoop):
    """An event loop without I/O that runs one iteration at a time, on the scheduler's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._time = now
        super().__init__()
        self._own = cast(Any, self)  # BaseEventLoop's attributes are not in its public type
        self._own._selector = _NoSelector()
        self._own._clock_resolution = 1e-6  # Unix seconds in a double are no finer

    def time(self) -> float:
        """The scheduler's time in seconds."""
        return self._time()

    def next_s(self) -> float:
        """The time at which this loop has something to do; infinity if it has nothing to do."""
        if self._own._ready:
            return self.time()
        return self._own._scheduled[0]._when if self._own._scheduled else float("inf")

    def step(self) -> None:
        """Run one iteration of the loop."""
        asyncio._set_running_loop(self)
        try:
            self._own._run_once()
        finally:
            asyncio._set_running_loop(None)

    def call_exception_handler(self, context: Any) -> None:
        """Ignore errors: Process watches the tasks of a living process, and those of a dead one do not matter."""

    def _process_events(self, events: Any) -> None:
        pass

    def __del__(self) -> None:
        pass


class SkewedClock(ManualClock):
    """The clock of one machine: the world's time plus a constant error; only its monotonic time is exact."""

    def __init__(self, world: "World", skew_s: float) -> None:
        self._world, self.skew_s = world, skew_s

    def now_s(self) -> float:
        return self._world.now_s + self.skew_s

    def monotonic_s(self) -> float:
        return self._world.now_s


class Process:
    """One simulated process. `on_end` is called once, with the reason for its end."""

    def __init__(self, world: "World", name: str, skew_s: float, on_end: Callable[["Process", str], None]) -> None:
        self.world, self.name = world, name
        self.clock = SkewedClock(world, skew_s)
        self.loop = StepLoop(lambda: world.now_s)
        self.alive, self.frozen_since_s = True, -1.0
        self.writes_left = -1  # the process dies at this write; -1 never
        self.superseded = False  # a successor has started, though this one may still live
        self.on_crash: Callable[[], None] = lambda: None
        self._on_end = on_end
        self._tasks: list[asyncio.Task[None]] = []
        world.processes.append(self)

    @property
    def frozen(self) -> bool:
        """Whether the process stands still now."""
        return self.frozen_since_s >= 0

    @property
    def ghost(self) -> bool:
        """Whether it ended after its successor had started. What lands now are its last records."""
        return self.superseded and not self.alive

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Run a job that lasts as long as the process; the process ends if the job does."""
        asyncio._set_running_loop(self.loop)
        task = self.loop.create_task(job)
        asyncio._set_running_loop(None)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def check(self) -> None:
        """Call this before any effect that others can see; raises Died if the process has ended."""
        if not self.alive:
            raise Died

    def write(self) -> None:
        """Call this before every write; raises Died if the process has ended, or is to die at this write."""
        self.check()
        if self.writes_left >= 0:
            self.writes_left -= 1
            if self.writes_left < 0:
                self.kill("killed in the middle of a flush")
                raise Died

    def die(self, reason: str) -> NoReturn:
        """End the process from within; raises Died."""
        self.kill(reason)
        raise Died

    def kill(self, reason: str) -> None:
        """End the process from outside; does nothing if it has ended."""
        if self.alive:
            self.alive = False
            self.world.note(f"{self.name} ends: {reason}")
            self.on_crash()
            self._on_end(self, reason)

    def bury(self) -> None:
        """Cancel the coroutines of a dead process, so none is left for the garbage collector; they change nothing."""
        self.world.processes.remove(self)
        for _ in range(20):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            self.loop.step()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.alive and not task.cancelled():
            error = task.exception()
            self.kill(f"{type(error).__name__}: {error}")


class World:
    """The clock, the queue of future actions and the scheduler. `on_event`, if set, gets every event as a line."""

    def __init__(self, seed: int, now_s: float) -> None:
        self.rng = random.Random(seed)
        self.now_s = self.start_s = now_s
        self.processes: list[Process] = []
        self.events: deque[str] = deque(maxlen=EVENTS_KEPT)
        self.on_event: Callable[[str], None] | None = None
        self.steps = 0
        self.violation: Violation | None = None
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def note(self, event: str) -> None:
        """Log an event with the time of the run."""
        line = f"{self.now_s - self.start_s:9.3f} {event}"
        self.events.append(line)
        if self.on_event is not None:
            self.on_event(line)

    def after(self, delay_s: float, act: Callable[[], object]) -> None:
        """Call `act` after `delay_s`; actions due at the same moment run in the order in which they were added."""
        self._count += 1
        heapq.heappush(self._queue, (self.now_s + delay_s, self._count, act))

    def every(self, period_s: float, act: Callable[[], object]) -> None:
        """Call `act` every `period_s` seconds until the end of the run."""

        def again() -> None:
            act()
            self.after(period_s, again)

        self.after(period_s, again)

    def watched(self, check: Callable[..., None]) -> Callable[..., None]:
        """Wrap a check that the product calls: the product must not see it fail, so the run ends after the step."""

        def watch(*args: Any) -> None:
            try:
                check(*args)
            except Violation as violation:
                self.violation = self.violation or violation

        return watch

    def run_until(self, until_s: float) -> None:
        """Step the processes and actions that are due, in random order, until nothing is left to do before `until_s`.

        Violation after the first step that breaks an invariant.
        """
        while True:
            ready, next_s = list[Process](), self._queue[0][0] if self._queue else until_s
            due = bool(self._queue) and next_s <= self.now_s
            for process in self.processes:
                if process.frozen:
                    continue
                if (at_s := process.loop.next_s()) <= self.now_s:
                    ready.append(process)
                elif at_s < next_s:
                    next_s = at_s
            if ready or due:
                self._step(ready, due)
            elif next_s < until_s:
                self.now_s = next_s
            else:
                self.now_s = until_s
                return

    def _step(self, ready: list[Process], due: bool) -> None:
        self.steps += 1
        turn = self.rng.randrange(len(ready) + due) if len(ready) + due > 1 else 0
        if turn == len(ready):
            heapq.heappop(self._queue)[2]()
        else:
            ready[turn].loop.step()
        for process in [process for process in self.processes if not process.alive]:
            process.bury()
        if self.violation is not None:
            raise self.violation
