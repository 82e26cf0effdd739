"""Ports' counters over time beside sampled flows, through the real agents: what each closed window then says.

A case is the JSON of an `input.json`:

- `windows`: how many are closed; `gbps`: what leaves by the link r1/et-0/0/1, by its sampled flows (a number, or a list
  of `{"from_s", "gbps"}`); `poll_s`: how often ports are read (5); `rate`: that of sampling (32768); `sampled`: the
  share of the load that flows show (1).
- `ports`: `ifIndex`, `share` of the load that its octets count (1), `ifSpeed` (100 Gb/s), `ifType` (6),
  `discards_per_s`, `modulo` of the octets, `cache_s` after which the agent refreshes its values, `from_s` and `until_s`
  between which it is reported, and `changes`: from `from_s` on, the keys in `set` have these values, and those in `add`
  that much more. Seconds count from the start of the first window.
- `inventory`: changes of the link's keys in the inventory; `ifindexes` alone is a short form of it.
- `forged`: counter records of the first port out of their turn: `at_s`, and `set` and `add` as above.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from faust.types import TP

from agents.counters import CountersState
from agents.decide import CycleInputs, PopDecider
from agents.flows import FlowsState, FlowTables, Publishers
from agents.sources import sources
from app.clock import ManualClock
from app.config.inventory import Pop
from app.config.settings import Settings
from app.contract.schemas import Decision, LinkUtilization, Notice, Sources
from app.stream.consumer import Record
from app.stream.final_rows import FinalRows
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path as BgpPath
from app.te.routing.rib import Rib
from app.te.traffic.windows import ClosedWindow
from tables.congestion import CongestionTable
from tables.interfaces import InterfaceTable
from tables.link_windows import LinkWindowRow
from tests.agents.outbox import Outbox
from tests.agents.test_decide import SilentSource
from tests.pops import demo_pop
from tests.tables.memory import memory_rows, memory_table

DATA = Path(__file__).parent / "data"
T0 = 1_795_246_100  # start of a window
WINDOW_S, REFRESH_S, CLOSED_AFTER_S = 10, 2, 4
LINK = "rhv1000/r1/et-0/0/1"
PREFIXES = [f"20.0.{index}.0/24" for index in range(24)]
RATE, PACKET_BYTES = 32768, 1000
IDLE_BPS = 1e6  # of the links beside it, which have room
TEMPLATE = json.loads((Path(__file__).parents[1] / "data" / "pmacct" / "counters.json").read_text())
AGENT = {"r1": "192.0.2.1", "r2": "192.0.2.2"}
Case = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)


class Seen(NamedTuple):
    """What a closed window says of the link, what was decided on it, and what people are shown of the inputs."""

    link: LinkUtilization
    decision: Decision
    notices: tuple[Notice, ...]


class PortsRig:
    """The agents of the demo's PoP over tables in memory; `restart` keeps the tables and forgets the rest."""

    def __init__(self, case: Case) -> None:
        self.case = case
        changes = dict(case.get("inventory", {})) | {
            key: tuple(case[key]) for key in ("ifindexes", "members") if key in case
        }
        self.pop = with_link(demo_pop(), LINK, **changes)
        self.natural = NaturalRouting(self.pop, _rib(self.pop))
        self.tables = InterfaceTable(memory_table("interfaces")), memory_rows(LinkWindowRow)
        self.congestion = CongestionTable(memory_table("congestion"))
        self.flow_offset = self.counter_offset = 0
        self.clock = ManualClock(T0)
        self.restart()

    def restart(self) -> None:
        """Begin as a worker does that finds these rows."""
        pops, self.outbox, self.dead = {self.pop.name: self.pop}, Outbox(), Outbox()
        self.counters = CountersState(pops, self.tables[0], self.dead.publisher)
        tables = FlowTables(self.tables[1], self.congestion, FinalRows(20.0, self.clock.monotonic_s), lambda _: 0)
        settings = Settings(pops=("rhv1000.toml",), mode="auto")

        def new_decider(pop: Pop) -> PopDecider:
            inputs = CycleInputs(self.counters.rates, self._sources, lambda *_: frozenset())
            return PopDecider(pop, settings, self.natural, inputs, self.outbox.publisher, self.clock)

        self.flows = FlowsState(
            pops,
            settings.windows,
            tables,
            Publishers(self.outbox.publisher, {self.pop.name: self.outbox.publisher}),
            new_decider,
            lambda _: self.natural.table,
        )
        self.counters.load()
        self.flows.load()

    def flush(self) -> None:
        """Write all rows, as after a batch."""
        for state in (self.counters, self.flows):
            state.write_rows()
            state.write_progress()

    def counter(self, at_s: float, **values: object) -> None:
        """One counter record of r1 that arrives at `at_s`."""
        record = TEMPLATE | {"timestamp": f"{at_s:.6f}"} | values
        raw = json.dumps(record).encode()
        topic = TP(f"sfacctd-counters-{self.pop.name}", 0)
        self.counters.apply(topic, [Record(self.counter_offset, at_s + 0.1, None, raw)])
        self.counter_offset += 1

    def purge(self, at_s: float, lines: Sequence[Mapping[str, object]]) -> None:
        """One purge of sfacctd, with these flow records."""
        marks = [{"event_type": kind, "writer_id": f"w/{at_s}"} for kind in ("purge_init", "purge_close")]
        messages = [b"\n".join(json.dumps(line).encode() for line in part) for part in ([marks[0]], lines, [marks[1]])]
        records = [
            Record(self.flow_offset + index, at_s + 0.1 * index, None, raw) for index, raw in enumerate(messages)
        ]
        self.flow_offset += len(records)
        self.clock.advance(max(0.0, at_s + 0.5 - self.clock.now_s()))
        self.flows.apply(TP(f"sfacctd-flows-{self.pop.name}", 0), records)

    def seen(self) -> list[Seen]:
        """What was published since the last restart, window by window."""
        links = [record for record in self._published(LinkUtilization) if record.link == LINK]
        rows = zip(links, self._published(Decision), self._published(Sources), strict=True)
        return [Seen(link, decision, record.notices) for link, decision, record in rows]

    def _published(self, kind: type[S]) -> list[S]:
        return [record for _, record in self.outbox.records if isinstance(record, kind)]

    def _sources(self, pop: Pop, window: ClosedWindow) -> Sources:
        return sources(pop, window, SilentSource(), self.counters, SilentSource())


def run(case: Case, phase_s: float = 3.0) -> list[Seen]:
    """Every window of a case; ports are first read `phase_s` after one poll before the first window."""
    rig = PortsRig(case)
    feed(rig, phase_s)
    return rig.seen()


def feed(rig: PortsRig, phase_s: float = 3.0, windows: range | None = None) -> None:
    """All that a case says, in order of time, until its last window is closed, or in these of its windows."""
    end_s = rig.case["windows"] * WINDOW_S + CLOSED_AFTER_S
    first_s, last_s = (windows.start * WINDOW_S, windows.stop * WINDOW_S) if windows else (-1e9, end_s + 1)
    for at_s, kind, values in sorted(_events(rig.case, phase_s, end_s), key=lambda event: event[:2]):
        if not first_s <= at_s < last_s:
            continue
        if kind == "counter":
            rig.counter(T0 + at_s, **values)
        else:
            rig.purge(T0 + at_s, list(_flows(rig.case, at_s)))


def load(name: str) -> Case:
    """The input of a case by the name of its folder."""
    case: Case = json.loads((DATA / name / "input.json").read_text())
    return case


def with_link(pop: Pop, link: str, **changes: object) -> Pop:
    """The PoP with these keys of one link changed."""
    links = tuple(
        msgspec.structs.replace(one, **changes) if pop.link_id(one) == link and changes else one for one in pop.link
    )
    return msgspec.structs.replace(pop, link=links)


def octets_at(case: Case, at_s: float) -> float:
    """What has left by the link since long before the first window, in bytes."""
    begin_s, octets = -1000.0, 0.0
    steps = case["gbps"] if isinstance(case["gbps"], list) else [{"from_s": begin_s, "gbps": case["gbps"]}]
    for step, until_s in zip(steps, [*(step["from_s"] for step in steps[1:]), at_s], strict=True):
        octets += max(0.0, min(until_s, at_s) - max(step["from_s"], begin_s)) * step["gbps"] * 1e9 / 8
    return octets


Event = tuple[float, str, dict[str, object]]


def _events(case: Case, phase_s: float, end_s: float) -> Iterator[Event]:
    poll_s = case.get("poll_s", 5)
    first_s, polls = phase_s - 2 * poll_s, int((end_s + 2 * poll_s - phase_s) // poll_s) + 1
    for at_s in (first_s + index * poll_s for index in range(polls)):
        for port in case["ports"]:
            if port.get("from_s", -1e9) <= at_s < port.get("until_s", 1e9):
                yield at_s, "counter", reading(case, port, at_s)
        for ifindex, agent in ((102, "r1"), (103, "r1"), (101, "r2"), (102, "r2"), (103, "r2")):
            yield at_s, "counter", _idle(ifindex, agent, at_s)
    for forged in case.get("forged", ()):
        values = reading(case, case["ports"][0], forged["at_s"])
        yield forged["at_s"], "counter", _changed(values, forged)
    for at_s in range(CLOSED_AFTER_S, int(end_s) + 1, REFRESH_S):  # an earlier one would begin with an older window
        yield at_s, "purge", {}


def reading(case: Case, port: Mapping[str, Any], at_s: float) -> dict[str, object]:
    """The keys of one counter record of a port."""
    refreshed_s = at_s - at_s % port["cache_s"] if "cache_s" in port else at_s
    octets = int(octets_at(case, refreshed_s) * port.get("share", 1.0))
    octets += 10**12  # whatever it counted before
    values: dict[str, object] = {
        "ifIndex": port["ifIndex"],
        "source_id_index": port["ifIndex"],
        "sflow_cnt_seq": int(at_s * 10) + 100_000,
        "ifType": port.get("ifType", 6),
        "ifSpeed": port.get("ifSpeed", 10**11),
        "ifStatus": 3,
        "ifInOctets": (octets // 10) % port.get("modulo", 2**64),
        "ifOutOctets": octets % port.get("modulo", 2**64),
        "ifOutUcastPkts": octets // PACKET_BYTES % 2**32,
        "ifOutDiscards": int((refreshed_s + 1000) * port.get("discards_per_s", 0)) % 2**32,
    }
    for change in port.get("changes", ()):
        if at_s >= change["from_s"]:
            values = _changed(values, change)
    return values


def _changed(values: Mapping[str, object], change: Mapping[str, Any]) -> dict[str, object]:
    added = {key: int(str(values[key])) + more for key, more in change.get("add", {}).items()}
    return dict(values) | added | dict(change.get("set", {}))


def _idle(ifindex: int, router: str, at_s: float) -> dict[str, object]:
    octets = int((at_s + 1000) * IDLE_BPS / 8)
    speed_bps = 10**10 if router == "r2" and ifindex != 103 else 10**11
    return {
        "peer_ip_src": AGENT[router],
        "ifIndex": ifindex,
        "source_id_index": ifindex,
        "sflow_cnt_seq": int(at_s * 10) + 100_000,
        "ifSpeed": speed_bps,
        "ifOutOctets": octets,
        "ifOutUcastPkts": octets // PACKET_BYTES,
        "ifOutDiscards": 0,
    }


def _flows(case: Case, at_s: float) -> Iterator[dict[str, object]]:
    """The flows of the seconds that this purge writes, spread evenly over the prefixes."""
    for second in range(int(at_s) - REFRESH_S if at_s > CLOSED_AFTER_S else 0, int(at_s)):
        sampled = (octets_at(case, second + 1.0) - octets_at(case, second)) * case.get("sampled", 1.0)
        samples = round(sampled / case.get("rate", RATE) / PACKET_BYTES)
        for index, prefix in enumerate(PREFIXES):
            share = samples // len(PREFIXES) + (index < samples % len(PREFIXES))
            if share:
                yield {
                    "event_type": "purge",
                    "peer_ip_src": AGENT["r1"],
                    "iface_in": 1,
                    "iface_out": case["ports"][0]["ifIndex"],
                    "ip_dst": prefix.replace(".0/24", ".9"),
                    "timestamp_arrival": f"{T0 + second}.000000",
                    "sampling_rate": case.get("rate", RATE),
                    "packets": share,
                    "bytes": share * PACKET_BYTES,
                }


def _rib(pop: Pop) -> Rib:
    """Every neighbour announces every prefix."""
    rib = Rib()
    for link in pop.link:
        for session in link.sessions:
            rib.peer_up(link.router, session.peer, session.asn)
            for prefix in PREFIXES:
                path = BgpPath(session.peer, session.next_hops[0], (session.asn, 65010), local_pref=link.local_pref)
                rib.update(link.router, prefix, path)
    return rib
