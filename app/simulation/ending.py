"""What must be so when the last fault is long over, and when everything was lost for longer than a hold."""

from app.contract import topics
from app.simulation.actuator import GROUP as ACTUATOR
from app.simulation.invariants import bytes_of, demand
from app.simulation.oracle import CleanPass, PathKey
from app.simulation.run import Run
from app.simulation.telemetry import GROUP as TELEMETRY
from app.simulation.telemetry import SimulatedTelemetry
from app.te.routing.rib import Rib


def check_end(run: Run) -> None:
    """Violation unless the state is that of a run without faults, and nothing of ours is left."""
    _check_running(run)
    _check_bytes(run, run.telemetry)
    _check_tables(run)
    _check_routes(run)
    _check_overrides(run)


def check_gone(run: Run) -> None:
    """Everything of ours is off the routers though nobody decides, and nobody can hear."""
    held = {router: sorted(speaker.held) for router, speaker in run.network.speakers.items() if speaker.held}
    demand(not held, f"I9 one hold after the end of everything these are left: {held}")


def _check_running(run: Run) -> None:
    for one in (run.telemetry, run.actuator):
        demand(one.worker.process.alive, f"I8 {one.worker.process.name} does not run")
    lags = run.broker.lag(run.world.now_s - run.lag_s)
    demand(not lags, f"I8 consumer groups lag: {lags}")


def _check_bytes(run: Run, telemetry: SimulatedTelemetry) -> None:
    """I1 against the ledger of what was sent, and I8 against one clean pass over the same log."""
    flows = topics.FLOWS.for_pop(run.network.pop.name)
    clean = CleanPass(run.network.pop, run.settings.windows, run.broker.topics[flows])
    account = telemetry.flows.accounts[run.network.pop.name]
    counted = {slot: bytes_of(row) for slot, row in run.checks.rows.items()}
    for slot, size in (clean.windows | clean.open).items():
        have = counted.get(slot, 0)
        demand(have == size, f"I1 window {slot[0]} of {slot[1]} has {have} bytes, a clean pass counts {size}")
    seen, ledger = account.progress, run.collectors.ledger
    open_bytes = sum(sums.size_bytes + sums.unroutable_bytes for sums in account.open.values())
    total = seen.counted_bytes + open_bytes + seen.late_bytes + sum(seen.unattributed_bytes.values())
    demand(total == ledger.total, f"I1 {total} bytes are accounted for, {ledger.total} were sent")
    missing = sum(size - counted.get(slot, 0) for slot, size in ledger.windows.items())
    demand(missing == seen.late_bytes, f"I1 {missing} bytes are in no window, {seen.late_bytes} were late")
    reasons = {reason: size for reason, size in seen.unattributed_bytes.items() if reason != "unroutable"}
    demand(reasons == dict(ledger.no_link), f"I1 unattributed {reasons}, sent {dict(ledger.no_link)}")
    letters = len({letter[:2] for letter in run.checks.letters if letter[0] == flows})
    demand(seen.dead_letters == ledger.bad_lines == letters, f"I1 {letters} dead letters of {ledger.bad_lines}")
    for name in ("applied", "closed_up_to_s", "watermark_s", "records", "late_bytes", "dead_letters"):
        have, want = getattr(seen, name), getattr(clean.progress, name)
        demand(have == want, f"I8 {name} is {have}, in a clean pass {want}")


def _check_tables(run: Run) -> None:
    """The local disk and the changelog say the same: the next process may start with either."""
    for group, one in ((TELEMETRY, run.telemetry), (ACTUATOR, run.actuator)):
        for name, rows in one.worker.disk.rows.items():
            logged = run.broker.changelog(f"{group}-{name}").rows
            # A process that dies when it deletes rows may leave them in the changelog: whoever reads it deletes them.
            keys = rows.keys() if name == "link_windows" else rows.keys() | logged.keys()
            differ = sorted(key.decode() for key in keys if rows.get(key) != logged.get(key))
            demand(not differ, f"I8 {group}-{name}: disk and changelog differ in {differ[:5]}")


def _check_routes(run: Run) -> None:
    """Both processes have the paths that the neighbours announce, and no other."""
    network = run.network
    true = {
        (peer[0], prefix, peer[1], session.next_hops[0])
        for peer, session in network.sessions.items()
        for prefix in network.announced[peer]
        if peer in network.up
    }
    for one in (run.telemetry, run.actuator):
        seen = _paths(one.routes.ribs[network.pop.name], list(network.pop.routers))
        wrong = sorted(seen ^ true)
        demand(not wrong, f"I8 {one.worker.process.name} has paths {wrong[:4]} wrong")


def _paths(rib: Rib, routers: list[str]) -> set[PathKey]:
    return {
        (router, prefix, path.peer, path.next_hop)
        for router in routers
        for prefix in rib.prefixes(router)
        for path in rib.paths(router, prefix).values()
    }


def _check_overrides(run: Run) -> None:
    """Demand is low: every override was given back."""
    held = {router: sorted(speaker.held) for router, speaker in run.network.speakers.items() if speaker.held}
    demand(not held, f"I8 stale overrides: {held}")
    entries = run.actuator.reconciler.overrides.entries
    demand(not entries, f"I8 the actuator still keeps {sorted(entries)}")
    state = run.telemetry.flows.deciders[run.network.pop.name].cycle.state
    demand(not state.held, f"I8 the decision still holds {sorted(state.held)}")
    still_open = sorted(link for link, one in state.links.items() if one.open)
    demand(not still_open, f"I8 congestion of {still_open} is still open")
