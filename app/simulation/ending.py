"""Checks at the end of a run: when the last fault is long over, or when everything was lost for longer than a lease."""

from collections.abc import Mapping
from itertools import pairwise

from app.config.inventory import Pop
from app.contract import topics
from app.simulation.actuator import GROUP as ACTUATOR
from app.simulation.invariants import bytes_of, demand
from app.simulation.oracle import CleanPass, PathKey, grid_of
from app.simulation.run import Run
from app.simulation.telemetry import GROUP as TELEMETRY
from app.simulation.telemetry import SimulatedTelemetry
from app.te.routing.rib import Rib


def check_end(run: Run) -> None:
    """Violation unless the state equals that of a run without faults and none of our routes is left."""
    _check_running(run)
    _check_bytes(run, run.telemetry)
    _check_tables(run)
    _check_routes(run)
    _check_overrides(run)


def check_gone(run: Run) -> None:
    """Violation unless all our routes are gone from the speakers, although nothing decides and Kafka is down."""
    held = {router: sorted(speaker.held) for router, speaker in run.network.speakers.items() if speaker.held}
    demand(not held, f"I9 one lease after everything was lost, these routes are left: {held}")


def _check_running(run: Run) -> None:
    for process in (run.telemetry.worker.process, run.actuator.worker.process):
        demand(process.alive, f"I8 {process.name} is not running")
    lags = run.broker.lag(run.world.now_s - run.lag_s)
    demand(not lags, f"I8 consumer groups lag: {lags}")


def _check_bytes(run: Run, telemetry: SimulatedTelemetry) -> None:
    """Check I1 against the ledger of what was sent, and I8 against one clean pass over the same log."""
    flows = topics.FLOWS.for_pop(run.network.pop.name)
    lengths = {start_s: row.length_s for (start_s, _), row in run.checks.rows.items()}
    _check_windows(lengths)
    clean = CleanPass(run.network.pop, run.settings.windows, grid_of(lengths), run.broker.topics[flows])
    account = telemetry.flows.accounts[run.network.pop.name]
    counted = {slot: bytes_of(row) for slot, row in run.checks.rows.items()}
    if not run.checks.has_other_links:
        for slot, size in (clean.windows | clean.open).items():
            have = counted.get(slot, 0)
            demand(have == size, f"I1 window {slot[0]} of {slot[1]} has {have} bytes, but a clean pass counts {size}")
    progress, ledger = account.progress, run.collectors.ledger
    open_bytes = sum(sums.size_bytes + sums.unroutable_bytes for sums in account.open.values())
    total = progress.counted_bytes + open_bytes + progress.late_bytes + sum(progress.unattributed_bytes.values())
    demand(total == ledger.total, f"I1 {total} bytes are accounted for, but {ledger.total} were sent")
    reasons = {reason: size for reason, size in progress.unattributed_bytes.items() if reason != "unroutable"}
    left_out = sum(reasons.values()) - sum(ledger.no_link.values())
    missing = sum(ledger.seconds.values()) - sum(counted.values()) - left_out
    demand(missing == progress.late_bytes, f"I1 {missing} bytes are in no window, but {progress.late_bytes} were late")
    demand(left_out >= 0, f"I1 {-left_out} bytes that belong to no link are in a window")
    # All that leaves by a link that is not in the inventory has an unknown interface, whatever else is wrong with it.
    unsure = ("unknown-interface", "clock-skew") if run.checks.has_other_links else ()
    counts, sent = ({key: each[key] for key in sorted(each) if key not in unsure} for each in (reasons, ledger.no_link))
    demand(counts == sent, f"I1 unattributed bytes are {counts}, but {sent} were sent")
    letters = sum(topic == flows for topic, *_ in run.checks.letters)
    demand(
        progress.dead_letters == ledger.bad_lines == letters,
        f"I1 {letters} dead letters for {ledger.bad_lines} bad lines",
    )
    late = () if run.checks.has_other_links else ("late_bytes",)
    for name in ("applied", "closed_up_to_s", "watermark_s", "records", "dead_letters", *late):
        have, want = getattr(progress, name), getattr(clean.progress, name)
        demand(have == want, f"I8 {name} is {have}, but {want} in a clean pass")


def _check_windows(lengths: Mapping[int, int]) -> None:
    """Check that windows follow each other, each at a multiple of its length; `lengths` are by start."""
    for start_s, length_s in lengths.items():
        demand(start_s % length_s == 0, f"I1 a window of {length_s} s begins at {start_s}")
    for before_s, start_s in pairwise(sorted(lengths)):
        end_s = before_s + lengths[before_s]
        demand(end_s == start_s, f"I1 the window from {before_s} on ends at {end_s}, the next begins at {start_s}")


def _check_tables(run: Run) -> None:
    """Check that local disk and changelog agree: the next process may start from either."""
    for group, worker in ((TELEMETRY, run.telemetry.worker), (ACTUATOR, run.actuator.worker)):
        for name, rows in worker.disk.rows.items():
            logged = run.broker.changelog(f"{group}-{name}").rows
            # A process that dies while deleting rows may leave them in the changelog; the next reader deletes them.
            keys = rows.keys() if name in ("link_windows", "congestion") else rows.keys() | logged.keys()
            # A frozen worker's cycle may come last: that of the newest closing counts.
            keys = {key for key in keys if not key.endswith(b"|cycle")}
            if name == "interfaces":  # a frozen worker's last record counts until the next one, which a port lacks now
                keys = keys - {key for key in keys if key.count(b"|") == 2 and key not in _ports(run.pop)}
            differing = sorted(key.decode() for key in keys if rows.get(key) != logged.get(key))
            demand(not differing, f"I8 {group}-{name}: disk and changelog differ in {differing[:5]}")


def _ports(pop: Pop) -> set[bytes]:
    """The keys of the ports that are in the inventory now."""
    return {f"{pop.name}|{router}|{ifindex}".encode() for router, ifindex in pop.link_by_interface}


def _check_routes(run: Run) -> None:
    """Check that both processes have exactly the paths that the neighbours announce."""
    network = run.network
    true = {
        (peer[0], prefix, peer[1], session.next_hops[0])
        for peer, session in network.sessions.items()
        for prefix in network.announced[peer]
        if peer in network.up
    }
    for component in (run.telemetry, run.actuator):
        known = _paths(component.routes.ribs[network.pop.name], list(network.pop.routers))
        wrong = sorted(known ^ true)
        demand(not wrong, f"I8 {component.worker.process.name} has these paths wrong: {wrong[:4]}")


def _paths(rib: Rib, routers: list[str]) -> set[PathKey]:
    return {
        (router, prefix, path.peer, path.next_hop)
        for router in routers
        for prefix in rib.prefixes(router)
        for path in rib.paths(router, prefix).values()
    }


def _check_overrides(run: Run) -> None:
    """Check that every override was taken back, since demand is low."""
    held = {router: sorted(speaker.held) for router, speaker in run.network.speakers.items() if speaker.held}
    demand(not held, f"I8 stale overrides in the speakers: {held}")
    entries = run.actuator.reconciler.overrides.entries
    demand(not entries, f"I8 the actuator still keeps {sorted(entries)}")
    state = run.telemetry.flows.deciders[run.network.pop.name].cycle.state
    demand(not state.held, f"I8 the decision still has overrides for {sorted(state.held)}")
    still_open = sorted(link for link, link_state in state.links.items() if link_state.open)
    demand(not still_open, f"I8 congestion is still open on {still_open}")
