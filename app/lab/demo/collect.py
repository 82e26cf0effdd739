"""All evidence of a run at its end, from the outside."""

from app.contract import topics
from app.contract.schemas import Actuation, Decision, LinkUtilization
from app.kafka.read import read_topic
from app.lab.daemons.ports import udp_drops
from app.lab.demo import edges, gather
from app.lab.demo.context import Scene
from app.lab.demo.evidence import Evidence, Progress
from app.lab.demo.story import Story


async def collect(scene: Scene, story: Story, ready_s: float, traffic_s: float, drained: bool) -> Evidence:
    """`ready_s` is how long it took until traffic began, at `traffic_s` (Unix). DaemonError when somebody is silent."""
    stack, sim, sim_pop, pop = scene.stack, scene.sim, scene.sim_pop, scene.stack.pop
    windows, thresholds = stack.deployment.settings.windows, stack.deployment.settings.thresholds
    link = next(index for index, name in enumerate(pop.links) if name.endswith(scene.scenario.link))
    kill = story.kills[0] if story.kills else None
    summary, after = sim.summary(), await edges.show(stack)
    heard = [line for peer in sim_pop.announcements for line in stack.received(peer)]
    leaked = tuple(line for line in heard if line.split()[0] not in pop.own_prefixes)
    return Evidence(
        seconds_to_ready=ready_s,
        drained=drained,
        surged_link=list(pop.links)[link],
        summary=summary,
        progress=await scene.state.get("progress", Progress),
        dead_letters=len(await read_topic(stack.kafka, topics.DEAD_LETTERS.name)),
        udp_drops=udp_drops(stack.sflow[1]),
        decisions=await gather.published(stack.kafka, topics.DECISIONS.for_pop(pop.name), Decision),
        close_to_decision_s=await gather.close_to_decision(stack.kafka, pop.name, windows, traffic_s),
        utilization=await gather.published(stack.kafka, topics.LINK_UTILIZATION.name, LinkUtilization),
        truth=tuple(gather.link_truth(sim, link, traffic_s, windows)),
        actuations=await gather.published(stack.kafka, topics.ACTUATIONS.name, Actuation),
        surge=gather.surge(sim, sim_pop, link, traffic_s, thresholds.enter, kill),
        kill=kill,
        marked_during={shown.router: len(shown.lines) for shown in story.during},
        marked_copies={shown.router: shown.copies(sim_pop.announcements) for shown in story.during},
        marked_after={shown.router: len(shown.lines) for shown in after},
        announcements_leaked=leaked,
        overrides_leaked=sum(pop.marker_community in line.split() for line in leaked),
        announcements_received=len(heard),
        restarts=sum(stack.runner.restarts.values()),
        verdict=scene.scenario.verdict,
        congested_by_us=tuple(
            gather.congested_by_us(
                sim.truth, sim_pop.link_ids, sim_pop.capacity_bps, windows.length_s, thresholds.enter
            )
        ),
        planted=tuple(story.planted),
        loop_after_removal_s=gather.loop_after_removal_s(story.planted, summary.last_loop_s, traffic_s),
        injected=story.injected,
    )
