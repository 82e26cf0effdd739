"""The faults of a run: their kinds and times are drawn from the seed, and all are repaired when their time is over."""

from collections.abc import Callable
from functools import partial

import msgspec

from app.simulation.broker import SLOW_S
from app.simulation.collectors import RENAMED
from app.simulation.loop import Died, Process
from app.simulation.network import PREFIXES
from app.simulation.run import Run
from app.simulation.worker import Worker

FIRST_S, LAST_S = 6.0, 48.0
TAKEOVER_S = 10.5  # a little more than the session timeout
LENGTHS_S = (2, 5, 5, 10)
TABLES = ("link_windows", "congestion", "interfaces", "rib")
Act = Callable[[], object]


class Faults:
    """Injects the faults of one run; `injected` lists them with their times."""

    def __init__(self, run: Run) -> None:
        self.run, self.world, self.network, self.rng = run, run.world, run.network, run.world.rng
        self.injected: list[str] = []
        self.over = False
        self.second: Process | None = None
        often = (
            self.kill_telemetry,
            self.kill_in_a_flush,
            self.kill_twice,
            self.kill_actuator,
            self.freeze_telemetry,
            self.flap_path,
            self.flap_session,
            self.other_windows,
            self.other_links,
        )
        seldom = (
            self.freeze_actuator,
            self.second_writer,
            self.broker_away,
            self.commits_set,
            self.lose_tails,
            self.broker_slow,
            self.refuse_a_record,
            self.speaker_down,
            self.speaker_restarts,
            self.lost_answers,
            self.bmp_restarts,
            self.collector_dies,
            self.lose_copied_path,
            self.lying_flows,
            self.no_counters,
            self.odd_records,
            self.slow_purges,
        )
        for kind in self.rng.choices((*often, *often, *seldom), k=self.rng.randint(2, 12)):
            self.world.after(self.rng.uniform(FIRST_S, LAST_S), self._unless_over(kind))

    def stop(self) -> None:
        """End the time of faults and repair what is broken."""
        self.over = True
        if self.second is not None:
            self.second.kill("killed")
        self.run.broker.restore()
        self.run.broker.slow_s = 0.0
        for worker in (self.run.telemetry.worker, self.run.actuator.worker):
            worker.process.writes_left = -1
            self._thaw(worker)
        for router, speaker in self.network.speakers.items():
            speaker.down = False
            self.network.restore_bmp(router)
        for peer in self.network.sessions:
            self.network.restore(peer)
        self.network.unsure = 0.0
        collectors = self.run.collectors
        collectors.lying, collectors.odd, collectors.slow, collectors.mute = {}, 0.0, 0.0, False

    # workers

    def kill_telemetry(self) -> None:
        """Kill telemetry, with or without the loss of its disk."""
        self._kill(self.run.telemetry.worker)

    def kill_actuator(self) -> None:
        """Kill the actuator, with or without the loss of its disk."""
        self._kill(self.run.actuator.worker)

    def kill_in_a_flush(self) -> None:
        """Kill a process at one of its next writes to a table."""
        worker = self.rng.choice((self.run.telemetry.worker, self.run.telemetry.worker, self.run.actuator.worker))
        worker.process.writes_left = self.rng.randrange(25)
        self._note(f"{worker.process.name} is to die at a write, {self._wiped(worker)}")

    def kill_twice(self) -> None:
        """Kill telemetry in a flush and keep its disk; soon after, kill its successor and lose the disk.

        In between, the successor reads what the disk had ahead of the changelog.
        """
        worker = self.run.telemetry.worker
        worker.process.writes_left, worker.wiped = self.rng.randrange(12), False
        self._note("telemetry is to die at a write, its disk stays until it is lost soon after")
        self._later(self.rng.uniform(2.0, 6.0), lambda: self._kill(self.run.telemetry.worker, wiped=True))

    def freeze_telemetry(self) -> None:
        """Freeze telemetry; if longer than the session timeout, a successor takes over on another machine."""
        self._freeze(self.run.telemetry.worker, self.rng.choice((2.0, 4.5, 7.0, 12.0, 15.0)))

    def freeze_actuator(self) -> None:
        """Freeze the actuator for 1 to 9 s."""
        self._freeze(self.run.actuator.worker, self.rng.uniform(1.0, 9.0))

    def second_writer(self) -> None:
        """Start a second actuator by mistake; it lives for 5 to 30 s."""
        self._note("a second actuator starts")
        process = self.run.start_second_writer()
        self._later(self.rng.uniform(5.0, 30.0), lambda: process.kill("killed"))
        self.second = process

    # the configuration

    def other_windows(self) -> None:
        """Configure another length of windows, and let telemetry take it over."""
        length_s = self.rng.choice(LENGTHS_S)
        self.run.windows = msgspec.structs.replace(self.run.windows, length_s=length_s)
        self._take_over(f"windows of {length_s} s")

    def other_links(self) -> None:
        """Take a link out of telemetry's inventory, rename it, give it to another router, or put all back."""
        pop, link = self.network.pop, self.rng.choice(self.network.pop.link)
        router = next(name for name in pop.routers if name != link.router)
        change, instead = self.rng.choice(
            (
                ("is gone", ()),
                ("is renamed", (msgspec.structs.replace(link, name=link.name + RENAMED),)),
                ("is at another router", (msgspec.structs.replace(link, router=router),)),
                ("is as it was", (link,)),
            )
        )
        links = (each for one in pop.link for each in (instead if one is link else (one,)))
        self.run.pop = msgspec.structs.replace(pop, link=tuple(links))
        self.run.checks.has_other_links, self.run.checks.links = True, set(self.run.pop.links)
        self._take_over(f"an inventory in which {link.name} {change}")

    def _take_over(self, change: str) -> None:
        """Let telemetry go on with another configuration, by a reload or a restart; one that is down starts with it."""
        worker = self.run.telemetry.worker
        if not worker.process.alive or worker.process.frozen:
            self._note(f"the next telemetry has {change}")
        elif self.rng.random() < 0.4:
            self._note(f"telemetry reloads {change}")
            self.run.reload_telemetry()
        else:
            self._note(f"telemetry restarts with {change}")
            self._kill(worker)

    def _kill(self, worker: Worker, wiped: bool | None = None) -> None:
        self._note(f"{worker.process.name} is killed, {self._wiped(worker, wiped)}")
        if worker.wiped and not worker.process.alive:
            worker.disk.wipe()
        worker.process.kill("killed")

    def _wiped(self, worker: Worker, wiped: bool | None = None) -> str:
        """Decide whether the next process still finds the disk of this one; the words for it."""
        worker.wiped = self.rng.random() < 0.4 if wiped is None else wiped
        return "its disk is lost" if worker.wiped else "its disk stays"

    def _freeze(self, worker: Worker, seconds: float) -> None:
        process = worker.process
        if process.frozen or not process.alive:
            return
        self._note(f"{process.name} is frozen for {seconds:.1f} s")
        process.frozen_since_s = self.world.now_s
        self.world.after(seconds, self._unless_over(lambda: self._thaw(worker)))
        if seconds > TAKEOVER_S:
            self.world.after(TAKEOVER_S, self._unless_over(lambda: self._succeed(worker)))

    def _succeed(self, worker: Worker) -> None:
        if worker.process.alive and self.run.telemetry.worker is worker:
            self.world.note("a successor starts on another machine")
            self.run.machine = 1 - self.run.machine
            self.run.start_telemetry()

    def _thaw(self, worker: Worker) -> None:
        """Let a process go on. First its fence checks how long it stood still, which may end it."""
        if worker.process.alive and worker.process.frozen:
            self.world.note(f"{worker.process.name} goes on")
            try:
                worker.fence.check()
            except Died:
                return
            worker.process.frozen_since_s = -1.0

    # the broker

    def broker_away(self) -> None:
        """Take the broker away for 0.5 to 9 s."""
        seconds = self.rng.uniform(0.5, 9.0)
        self._note(f"the broker is away for {seconds:.1f} s")
        self.run.broker.up = False
        self._later(seconds, self.run.broker.restore)

    def commits_set(self) -> None:
        """Kill telemetry, and set its commits to the ends of its topics, as an administrator may by mistake."""
        worker = self.run.telemetry.worker
        self._kill(worker)
        self._note("its commits are set to the end")
        for stream in worker.streams:
            stream.set_commit_to_end()

    def lose_tails(self) -> None:
        """Kill telemetry, and lose the ends of some of its changelogs, as when a single broker loses power."""
        worker = self.run.telemetry.worker
        self._kill(worker)
        for producer in self.run.broker.producers:
            producer.cut_off()
        for table in self.rng.sample(TABLES, k=self.rng.randint(1, len(TABLES))):
            lost = self.rng.choice((1, 5, 25, 125))
            self._note(f"{table} loses the last {lost} records of its changelog")
            keys = self.run.broker.changelog(f"{worker.group}-{table}").lose(lost)
            self.run.checks.lost_tail(f"{worker.group}-{table}", keys)

    def broker_slow(self) -> None:
        """Make the broker take up to 10 s for each answer, for 5 to 25 s. No process may end for it."""
        self._note("the broker answers late")
        self.run.broker.slow_s = SLOW_S
        self._later(self.rng.uniform(5.0, 25.0), lambda: setattr(self.run.broker, "slow_s", 0.0))

    def refuse_a_record(self) -> None:
        """Make the broker refuse one record of a process."""
        worker = self.rng.choice((self.run.telemetry.worker, self.run.actuator.worker))
        self._note(f"the broker refuses a record of {worker.process.name}")
        worker.fail_a_record()
        self.run.checks.was_refused = True

    # speakers

    def speaker_down(self) -> None:
        """Make a speaker unreachable for 1 to 10 s."""
        router, seconds = self.rng.choice(list(self.network.speakers)), self.rng.uniform(1.0, 10.0)
        self._note(f"the speaker of {router} does not answer for {seconds:.1f} s")
        speaker = self.network.speakers[router]
        speaker.down = True
        self._later(seconds, lambda: setattr(speaker, "down", False))

    def speaker_restarts(self) -> None:
        """Restart a speaker, which then has no routes."""
        router = self.rng.choice(list(self.network.speakers))
        self._note(f"the speaker of {router} restarts")
        self.network.restart_speaker(router)

    def lost_answers(self) -> None:
        """Lose half of the speakers' answers for 2 to 10 s, although the calls are applied."""
        self._note("answers of the speakers are lost")
        self.network.unsure = 0.5
        self._later(self.rng.uniform(2.0, 10.0), lambda: setattr(self.network, "unsure", 0.0))

    # routes

    def flap_path(self) -> None:
        """Withdraw a prefix of one neighbour and perhaps announce it again. Transit keeps every prefix."""
        peer = self.rng.choice([peer for peer in self.network.sessions if peer != self.network.transit])
        prefix = self.rng.choice(PREFIXES)
        if (as_path := self.network.announced[peer].get(prefix)) is None:
            return
        self._note(f"{peer[1]} withdraws {prefix}")
        self.network.withdraw(peer, prefix)
        if self.rng.random() < 0.7:
            again_s = self.rng.choice((0.1, 1.0, 5.0, 15.0))
            self._later(again_s, lambda: self.network.announce(peer, prefix, as_path))

    def lose_copied_path(self) -> None:
        """Withdraw a path that an override copies while telemetry is frozen: the actuator must react."""
        peers = [peer for peer in self.network.sessions if peer != self.network.transit]
        if copied := [(peer, prefix) for peer in peers for prefix in self.network.copied(peer)]:
            self._freeze(self.run.telemetry.worker, 9.0)
            peer, prefix = self.rng.choice(copied)
            self._note(f"{peer[1]} withdraws {prefix}, which is overridden")
            self.network.withdraw(peer, prefix)

    def flap_session(self) -> None:
        """Take the session with a neighbour down for a while."""
        peer = self.rng.choice([peer for peer in self.network.sessions if peer != self.network.transit])
        seconds = self.rng.choice((0.2, 2.0, 10.0, 60.0))
        self._note(f"the session with {peer[1]} is down for {seconds} s")
        self.network.down(peer)
        self._later(seconds, lambda: self.network.restore(peer))

    def bmp_restarts(self) -> None:
        """Lose the BMP session of a router for 0.1 to 6 s."""
        router, seconds = self.rng.choice(list(self.network.pop.routers)), self.rng.uniform(0.1, 6.0)
        self._note(f"the BMP session of {router} is down for {seconds:.1f} s")
        self.network.lose_bmp(router, is_reported=self.rng.random() < 0.5)
        self._later(seconds, lambda: self.network.restore_bmp(router))

    def collector_dies(self) -> None:
        """Kill the BMP collector for 15 to 40 s; soon after, a neighbour whose paths are overridden goes down."""
        seconds = self.rng.uniform(15.0, 40.0)
        self._note(f"the BMP collector is dead for {seconds:.1f} s")
        for router in self.network.pop.routers:
            self.network.lose_bmp(router, is_reported=False)
            self._later(seconds, partial(self.network.restore_bmp, router))
        peers = [peer for peer in self.network.sessions if peer != self.network.transit and self.network.copied(peer)]
        if peers:
            peer = self.rng.choice(peers)
            self.network.down(peer)
            self._later(seconds, lambda: self.network.restore(peer))

    # feeds

    def lying_flows(self) -> None:
        """Scale the reported flows of a link for a while."""
        link, factor = self.rng.choice(list(self.network.pop.links)), self.rng.choice((0.0, 0.3, 3.0))
        self._note(f"flows of {link} are told x {factor}")
        self.run.collectors.lying[link] = factor
        self._later(self.rng.uniform(5.0, 25.0), lambda: self.run.collectors.lying.pop(link, None))

    def no_counters(self) -> None:
        """Stop the interface counters for 3 to 20 s."""
        self._note("no counters")
        self.run.collectors.mute = True
        self._later(self.rng.uniform(3.0, 20.0), lambda: setattr(self.run.collectors, "mute", False))

    def odd_records(self) -> None:
        """Add late, skewed and broken records to half of the purges."""
        self._note("late, skewed and broken records")
        self.run.collectors.odd = 0.5

    def slow_purges(self) -> None:
        """Delay the data of half of the purges by seconds."""
        self._note("slow purges")
        self.run.collectors.slow = 0.5

    def _note(self, fault: str) -> None:
        self.injected.append(f"{self.world.now_s - self.world.start_s:.3f} {fault}")
        self.world.note(f"fault: {fault}")

    def _unless_over(self, act: Act) -> Act:
        return lambda: None if self.over else act()

    def _later(self, delay_s: float, act: Act) -> None:
        self.world.after(delay_s, self._unless_over(act))
