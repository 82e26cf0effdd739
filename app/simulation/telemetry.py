"""The telemetry worker of a simulated run: the real states, readers and decider, wired as in app/telemetry.py."""

from agents.counters import CountersState
from agents.decide import PopDecider
from agents.flows import FlowsState
from agents.routes import RoutesState
from app.config.inventory import Pop
from app.config.settings import Settings
from app.contract import topics
from app.feeds.placing import TableOf
from app.simulation.broker import Broker
from app.simulation.loop import Process
from app.simulation.worker import SESSION_TIMEOUT_S, Disk, Stream, Worker
from app.stream.exact import ExactReader
from app.stream.final_rows import Settling
from app.stream.offsets import committed
from app.stream.publish import Publisher
from app.te.routing.natural import NaturalRouting
from tables.congestion import Congestion
from tables.interfaces import Interfaces
from tables.link_windows import LinkWindowRow
from tables.rib import Pace, RibTable
from tables.store import Rows

GROUP = "autopilot-telemetry-p"


class Telemetry:
    """One process from its recovery to its end."""

    def __init__(
        self, process: Process, broker: Broker, disk: Disk, pop: Pop, settings: Settings, flaky: bool, pace: Pace
    ) -> None:
        self.worker = worker = Worker(process, broker, GROUP, disk, flaky)
        app, pops, clock = worker.app, {pop.name: pop}, process.clock
        rib_table, interfaces = RibTable(worker.table("rib")), Interfaces(worker.table("interfaces"))
        link_windows = Rows(worker.table("link_windows"), LinkWindowRow, lambda row: row.sums.applied)
        congestion = Congestion(worker.table("congestion"))
        self.routes = RoutesState(pops, rib_table, Publisher(app, clock), lambda *_: None, pace)
        self.counters = CountersState(pops, interfaces, Publisher(app, clock))
        natural, publisher = NaturalRouting(pop, self.routes.ribs[pop.name]), Publisher(app, clock)

        def new_decider(_: Pop) -> PopDecider:
            return PopDecider(pop, settings, natural.rib, natural, self.counters.rates, publisher, clock)

        def new_table_of(_: Pop) -> TableOf:
            return natural.table

        self.flows = FlowsState(
            pops,
            settings.windows,
            link_windows,
            congestion,
            publisher,
            new_decider,
            new_table_of,
            lambda topic: committed(app, topic),
            Settling(2 * SESSION_TIMEOUT_S, clock.monotonic_s),
        )
        for state, topic, tables, whole_to in (
            (self.routes, topics.BMP, [rib_table.table], self.routes.whole_to),
            (self.counters, topics.COUNTERS, [interfaces.table], dict),
            (self.flows, topics.FLOWS, [link_windows.table, congestion.table], dict),
        ):
            name = topic.for_pop(pop.name)
            reader = ExactReader(app, state, tables, worker.makings(name, tables), worker.fence, worker.end, whole_to)
            reader.load()
            process.spawn(reader.run(Stream(worker, name)))
