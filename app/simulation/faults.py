"""What goes wrong in a run: drawn from its seed, at moments of its own, and mended when the time of faults is over."""

from collections.abc import Callable

from app.simulation.loop import Died
from app.simulation.network import PREFIXES
from app.simulation.run import Run
from app.simulation.worker import Worker

FIRST_S, LAST_S = 6.0, 48.0
TAKEOVER_S = 10.5  # the session timeout, and a moment
Act = Callable[[], object]


class Faults:
    """The faults of one run. `told` is the list of them."""

    def __init__(self, run: Run) -> None:
        self.run, self.world, self.network, self.rng = run, run.world, run.network, run.world.rng
        self.told: list[str] = []
        self.over = False
        often = (
            self.kill_telemetry,
            self.kill_in_a_flush,
            self.kill_twice,
            self.kill_actuator,
            self.freeze_telemetry,
            self.flap_path,
            self.flap_session,
        )
        seldom = (
            self.freeze_actuator,
            self.broker_away,
            self.refuse_a_record,
            self.speaker_down,
            self.speaker_restarts,
            self.lost_answers,
            self.bmp_restarts,
            self.lose_copied_path,
            self.lying_flows,
            self.no_counters,
            self.odd_records,
            self.slow_purges,
        )
        for kind in self.rng.choices((*often, *often, *seldom), k=self.rng.randint(2, 12)):
            self.world.after(self.rng.uniform(FIRST_S, LAST_S), self._unless_over(kind))

    def stop(self) -> None:
        """The last fault is over; what broke is mended."""
        self.over = True
        self.run.broker.restore()
        for one in (self.run.telemetry, self.run.actuator):
            one.worker.process.writes_left = -1
            self._thaw(one.worker)
        for router, speaker in self.network.speakers.items():
            speaker.down = False
            self.network.restore_bmp(router)
        for peer in self.network.sessions:
            self.network.restore(peer)
        self.network.unsure = 0.0
        feeds = self.run.collectors
        feeds.lying, feeds.odd, feeds.slow, feeds.mute = {}, 0.0, 0.0, False

    # workers

    def kill_telemetry(self) -> None:
        self._kill(self.run.telemetry.worker)

    def kill_actuator(self) -> None:
        self._kill(self.run.actuator.worker)

    def kill_in_a_flush(self) -> None:
        """At one of the next writes to a table."""
        worker = self.rng.choice((self.run.telemetry.worker, self.run.telemetry.worker, self.run.actuator.worker))
        worker.process.writes_left = self.rng.randrange(25)
        self._tell(f"{worker.process.name} is to die at a write, {self._wiped(worker)}")

    def kill_twice(self) -> None:
        """In a flush; then, when what the disk had ahead of the changelog was taken up, with its disk."""
        worker = self.run.telemetry.worker
        worker.process.writes_left, worker.wiped = self.rng.randrange(12), False
        self._tell("telemetry is to die at a write, its disk stays until it is lost soon after")
        self._mend(self.rng.uniform(2.0, 6.0), lambda: self._kill(self.run.telemetry.worker, wiped=True))

    def freeze_telemetry(self) -> None:
        """Longer than the session timeout, and a successor takes over on another machine."""
        self._freeze(self.run.telemetry.worker, self.rng.choice((2.0, 4.5, 7.0, 12.0, 15.0)))

    def freeze_actuator(self) -> None:
        self._freeze(self.run.actuator.worker, self.rng.uniform(1.0, 9.0))

    def _kill(self, worker: Worker, wiped: bool | None = None) -> None:
        self._tell(f"{worker.process.name} is killed, {self._wiped(worker, wiped)}")
        if worker.wiped and not worker.process.alive:
            worker.disk.wipe()
        worker.process.kill("killed")

    def _wiped(self, worker: Worker, wiped: bool | None = None) -> str:
        """Whether the next process finds the disk of this one."""
        worker.wiped = self.rng.random() < 0.4 if wiped is None else wiped
        return "its disk is lost" if worker.wiped else "its disk stays"

    def _freeze(self, worker: Worker, seconds: float) -> None:
        process = worker.process
        if process.frozen or not process.alive:
            return
        self._tell(f"{process.name} is frozen for {seconds:.1f} s")
        process.frozen_since_s = self.world.now_s
        self.world.after(seconds, self._unless_over(lambda: self._thaw(worker)))
        if seconds > TAKEOVER_S:
            self.world.after(TAKEOVER_S, self._unless_over(lambda: self._take_over(worker)))

    def _take_over(self, worker: Worker) -> None:
        if worker.process.alive and self.run.telemetry.worker is worker:
            self.world.note("a successor starts on another machine")
            self.run.machine = 1 - self.run.machine
            self.run.start_telemetry()

    def _thaw(self, worker: Worker) -> None:
        """The first that a process does when it goes on: its fence looks how long it stood still."""
        if worker.process.alive and worker.process.frozen:
            self.world.note(f"{worker.process.name} goes on")
            try:
                worker.fence.check()
            except Died:
                return
            worker.process.frozen_since_s = -1.0

    # the broker

    def broker_away(self) -> None:
        seconds = self.rng.uniform(0.5, 9.0)
        self._tell(f"the broker is away for {seconds:.1f} s")
        self.run.broker.up = False
        self._mend(seconds, self.run.broker.restore)

    def refuse_a_record(self) -> None:
        worker = self.rng.choice((self.run.telemetry.worker, self.run.actuator.worker))
        self._tell(f"the broker refuses a record of {worker.process.name}")
        worker.fail_a_record()

    # speakers

    def speaker_down(self) -> None:
        router, seconds = self.rng.choice(list(self.network.speakers)), self.rng.uniform(1.0, 10.0)
        self._tell(f"the speaker of {router} does not answer for {seconds:.1f} s")
        speaker = self.network.speakers[router]
        speaker.down = True
        self._mend(seconds, lambda: setattr(speaker, "down", False))

    def speaker_restarts(self) -> None:
        router = self.rng.choice(list(self.network.speakers))
        self._tell(f"the speaker of {router} restarts")
        self.network.restart_speaker(router)

    def lost_answers(self) -> None:
        self._tell("answers of the speakers are lost")
        self.network.unsure = 0.5
        self._mend(self.rng.uniform(2.0, 10.0), lambda: setattr(self.network, "unsure", 0.0))

    # routes

    def flap_path(self) -> None:
        """A neighbour with an alternative withdraws a prefix, and announces it again perhaps. Transit keeps all."""
        peer = self.rng.choice([peer for peer in self.network.sessions if peer != self.network.transit])
        prefix = self.rng.choice(PREFIXES)
        if (as_path := self.network.announced[peer].get(prefix)) is None:
            return
        self._tell(f"{peer[1]} withdraws {prefix}")
        self.network.withdraw(peer, prefix)
        if self.rng.random() < 0.7:
            again_s = self.rng.choice((0.1, 1.0, 5.0, 15.0))
            self._mend(again_s, lambda: self.network.announce(peer, prefix, as_path))

    def lose_copied_path(self) -> None:
        """A path that an override copies goes while nobody decides: the actuator must see to it."""
        peers = [peer for peer in self.network.sessions if peer != self.network.transit]
        if copied := [(peer, prefix) for peer in peers for prefix in self.network.copied(peer)]:
            self._freeze(self.run.telemetry.worker, 9.0)
            peer, prefix = self.rng.choice(copied)
            self._tell(f"{peer[1]} withdraws {prefix}, which is overridden")
            self.network.withdraw(peer, prefix)

    def flap_session(self) -> None:
        peer = self.rng.choice([peer for peer in self.network.sessions if peer != self.network.transit])
        seconds = self.rng.choice((0.2, 2.0, 10.0, 60.0))
        self._tell(f"the session with {peer[1]} is down for {seconds} s")
        self.network.down(peer)
        self._mend(seconds, lambda: self.network.restore(peer))

    def bmp_restarts(self) -> None:
        router, seconds = self.rng.choice(list(self.network.pop.routers)), self.rng.uniform(0.1, 6.0)
        self._tell(f"the BMP session of {router} is down for {seconds:.1f} s")
        self.network.lose_bmp(router)
        self._mend(seconds, lambda: self.network.restore_bmp(router))

    # feeds

    def lying_flows(self) -> None:
        link, factor = self.rng.choice(list(self.network.pop.links)), self.rng.choice((0.0, 0.3, 3.0))
        self._tell(f"flows of {link} are told x {factor}")
        self.run.collectors.lying[link] = factor
        self._mend(self.rng.uniform(5.0, 25.0), lambda: self.run.collectors.lying.pop(link, None))

    def no_counters(self) -> None:
        self._tell("no counters")
        self.run.collectors.mute = True
        self._mend(self.rng.uniform(3.0, 20.0), lambda: setattr(self.run.collectors, "mute", False))

    def odd_records(self) -> None:
        self._tell("late, skewed and broken records")
        self.run.collectors.odd = 0.5

    def slow_purges(self) -> None:
        self._tell("slow purges")
        self.run.collectors.slow = 0.5

    def _tell(self, what: str) -> None:
        self.told.append(f"{self.world.now_s - self.world.start_s:.3f} {what}")
        self.world.note(f"fault: {what}")

    def _unless_over(self, act: Act) -> Act:
        return lambda: None if self.over else act()

    def _mend(self, delay_s: float, act: Act) -> None:
        self.world.after(delay_s, self._unless_over(act))
