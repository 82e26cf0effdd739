"""`autopilot check`: lists every problem of a deployment at once, and what to do about each."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from app.bgp.tls import SECURE_IT, is_exposed
from app.cli.changelogs import changelog_problems, changelogs
from app.cli.decision_size import TOPIC_BYTES_DEFAULT, budget_problem, topic_problem
from app.cli.exposure import Exposure, exposures
from app.cli.injectors import OK, InjectorAnswer, ask_all, injector_state, policy, policy_problem
from app.cli.policies import Key, of_injectors, of_routers
from app.cli.situation import halt_lines, situation
from app.cli.trusting import trusting
from app.clock import Clock, SystemClock
from app.config import folders, tls_files
from app.config.inventory import Pop, Router
from app.config.settings import Deployment, Kafka, Settings
from app.contract import topics
from app.contract.schemas import RouterHeard
from app.contract.topics import Topic
from app.errors import DaemonError
from app.feeds.bmp_notices import ASK_FOR_STATISTICS
from app.kafka import client, credentials
from app.kafka.admin import create_topics, missing_topics
from app.kafka.broker_time import host_ahead_s, warning
from app.kafka.read import unreadable_batches
from app.web.conditions import Seen, actuator_state, components, sentence

DISTRIBUTION = "egress-autopilot"
ANSWER_S = 10.0
IN_ORDER = {"capacity-below-ports"}  # worth a word, but it may be meant


class RouterReport(msgspec.Struct, frozen=True):
    """One router: how many seconds ago each input was heard (None: never), its injector, and what it lets pass.

    `injector` is `ok`, or what is wrong with the gobgpd or its session with the router. `grpc` says who may reach the
    gobgpd and how, `policy` what the router imports from its injector and what it exports; "not readable" where nothing
    shows it.
    """

    flows_heard_s: float | None
    counters_heard_s: float | None
    bmp_heard_s: float | None
    bmp_statistics: bool
    injector: str
    grpc: str
    policy: dict[str, str]


class Marks(msgspec.Struct, frozen=True):
    """What a PoP's routers know our routes by: the community and the local-pref on each of them."""

    community: str
    local_pref: int


class Report(msgspec.Struct, frozen=True):
    """Everything that `check` found. `marks` are by PoP, `routers` by `pop/router`.

    `components` are by PoP and name: up, down, unknown. `keys` says who is obeyed, and whose key this host has.
    """

    problems: list[str]
    marks: dict[str, Marks] = {}
    routers: dict[str, RouterReport] = {}
    components: dict[str, dict[str, str]] = {}
    keys: list[str] = []
    warnings: list[str] = []


async def report(
    deployment: Deployment, clock: Clock, running: bool = True, configs: Mapping[Key, str] | None = None
) -> Report:
    """Check the environment, the broker's topics and time, and, if `running`, every part that should be running.

    Who may reach the gobgpds is always looked at. While topics are missing nothing can be running, so nothing else is
    asked. `configs` says where the policy of a router is read (see policies).
    """
    configs, keys = configs or {}, trusting(deployment.settings, deployment.pops, clock.now_s())
    problems = [*foreign_packages(), *unwritable(deployment.settings), *own_contradictions(deployment), *keys.problems]
    problems += file_problems(deployment.settings, clock.now_s())
    gobgp = deployment.settings.gobgp
    (found, complete), read, exposed = await asyncio.gather(
        _broker_problems(deployment, clock),
        of_routers(deployment.pops, configs),
        exposures(deployment.pops, gobgp, clock.now_s()),
    )
    problems += router_lines(read)
    problems += router_lines({key: [found.problem] for key, found in exposed.items() if found.problem}, "injector: ")
    if not complete or not running:
        return Report([*problems, *found], marks_of(deployment), keys=keys.sentences, warnings=keys.warnings)
    answers, now = await asyncio.gather(ask_all(deployment.pops, gobgp), situation(deployment, None, clock.now_s()))
    routers = {
        f"{name}/{router.name}": _router(
            router,
            answers[name, router.name],
            exposed[name, router.name],
            now.seen[name],
            read.get((name, router.name)),
        )
        for name, pop in deployment.pops.items()
        for router in pop.router
    }
    wrong = await of_injectors(deployment.pops, {key: answer.problem is None for key, answer in answers.items()}, gobgp)
    problems += router_lines(wrong, "injector: ")
    problems += [*found, *halt_lines(now.halts)]
    for name, pop in deployment.pops.items():
        # What was never seen is named with the command that starts it, and statistics with their router.
        known = {*IN_ORDER, "bmp-no-statistics"} | ({"telemetry-silent"} if now.seen[name].sources is None else set())
        problems += [sentence(name, notice) for notice in now.notices[name] if notice.kind not in known]
        problems += _never_heard(deployment, name, now.seen[name])
        for router in pop.router:
            problems += _router_problems(f"{name}/{router.name}", routers, answers[name, router.name])
    states = {name: _states(pop, now.seen[name]) for name, pop in deployment.pops.items()}
    return Report(problems, marks_of(deployment), routers, states, keys.sentences, keys.warnings)


async def offline_report(deployment: Deployment, configs: Mapping[Key, str]) -> Report:
    """Check the environment, the folders of the settings and the routers' policies, without asking the broker."""
    keys = trusting(deployment.settings, deployment.pops, SystemClock().now_s())
    problems = [*foreign_packages(), *unwritable(deployment.settings, offline=True), *own_contradictions(deployment)]
    problems += file_problems(deployment.settings, SystemClock().now_s(), offline=True)
    problems += [*keys.problems, *router_lines(await of_routers(deployment.pops, configs))]
    return Report(problems, marks_of(deployment), keys=keys.sentences, warnings=keys.warnings)


def file_problems(settings: Settings, now_s: float, offline: bool = False) -> list[str]:
    """Return what is wrong with the files of `[kafka]`, `[gobgp]` and `[http]`, or will be soon."""
    ours, secret = settings.gobgp.files, settings.http.proxy_secret_file
    of_gobgp = tls_files.problems(ours, ours.context, now_s, offline) if ours.paths else []
    of_proxy = tls_files.open_secrets({f"http.proxy_secret_file: {secret}": secret}) if secret is not None else []
    return [*credentials.problems(settings.kafka, now_s, offline), *of_gobgp, *of_proxy]


def own_contradictions(deployment: Deployment) -> list[str]:
    """Return what the files ask for and cannot be had: decisions too large to publish, unguarded ways to a gobgpd."""
    problems = [problem for pop in deployment.pops.values() if (problem := budget_problem(pop)) is not None]
    problems += [
        f"{pop.name}/{router.name}: injector.grpc {router.injector.grpc} is TCP without TLS, so whoever reaches it may"
        f" announce routes: {SECURE_IT}"
        for pop in deployment.pops.values()
        for router in pop.router
        if is_exposed(router.injector.grpc, deployment.settings.gobgp)
    ]
    return problems


def router_lines(problems: Mapping[Key, list[str]], part: str = "") -> list[str]:
    """Return each problem with the name of its router."""
    return [f"{pop}/{router}: {part}{text}" for (pop, router), texts in problems.items() for text in texts]


def marks_of(deployment: Deployment) -> dict[str, Marks]:
    """What the routers' policies must match on, by PoP."""
    return {name: Marks(pop.marker_community, pop.override_local_pref) for name, pop in deployment.pops.items()}


def sentences(report: Report) -> list[str]:
    """A line for each router: what was heard of it, its injector, its policies."""
    return [_sentence(name, router) for name, router in report.routers.items()]


def sentences_on_keys_and_marks(report: Report) -> list[str]:
    """Who is obeyed; and what the policies of each PoP's routers must match."""
    return [
        *report.keys,
        *(
            f"{name}: our routes carry the community {marks.community} and the local-pref {marks.local_pref}"
            for name, marks in report.marks.items()
        ),
    ]


def _sentence(name: str, router: RouterReport) -> str:
    inputs = (("flows", router.flows_heard_s), ("counters", router.counters_heard_s), ("BMP", router.bmp_heard_s))
    heard = ", ".join(f"{word} {'never' if age is None else f'{age:.0f} s ago'}" for word, age in inputs)
    statistics = "with" if router.bmp_statistics else "without"
    return (
        f"{name}: heard: {heard} ({statistics} statistics); injector: {router.injector}; {router.grpc};"
        f" imports: {router.policy['import']}; exports: {router.policy['export']}"
    )


def _router(
    router: Router, answer: InjectorAnswer, exposed: Exposure, seen: Seen, read: list[str] | None
) -> RouterReport:
    heard = seen.sources.routers.get(router.name, RouterHeard()) if seen.sources else RouterHeard()
    ages = (
        None if at is None else round(seen.now_s - at.timestamp(), 1) for at in (heard.flows, heard.counters, heard.bmp)
    )
    status = seen.status.injectors.get(router.name) if seen.status and actuator_state(seen) == "up" else None
    flows_s, counters_s, bmp_s = ages
    injector = injector_state(router, answer, status)
    policies = policy(answer, status, read)
    return RouterReport(flows_s, counters_s, bmp_s, heard.bmp_statistics, injector, exposed.text, policies)


def _router_problems(name: str, routers: Mapping[str, RouterReport], answer: InjectorAnswer) -> Iterator[str]:
    router = routers[name]
    if router.injector != OK:
        yield f"{name}: injector: {router.injector}"
    if (wrong := policy_problem(answer)) is not None:
        yield f"{name}: {wrong}"
    if router.bmp_heard_s is not None and not router.bmp_statistics:
        yield f"{name}: sends no BMP statistics, so it is doubted whenever it is quiet: {ASK_FOR_STATISTICS}"


def _never_heard(deployment: Deployment, name: str, seen: Seen) -> Iterator[str]:
    cell = deployment.cell_of(name)
    if seen.sources is None:
        yield (
            f"{name}: telemetry has published no window yet. If {topics.FLOWS.for_pop(name)} is written to, start"
            f" `autopilot telemetry --cell {cell}`; if not, start sfacctd first"
        )
    if seen.status is None and actuator_state(seen) == "unknown" and deployment.settings.mode != "observe":
        yield f"{name}: no actuator was heard; start it: `autopilot actuator --cell {cell}`"


def _states(pop: Pop, seen: Seen) -> dict[str, str]:
    return {f"{part.router}/{part.name}" if part.router else part.name: part.state for part in components(pop, seen)}


def unwritable(settings: Settings, offline: bool = False) -> list[str]:
    """Return a problem for each folder of the settings that this process cannot write to (see folders)."""
    return folders.unwritable(Path(settings.data_dir), Path(settings.halt_file), offline)


async def create_missing(deployment: Deployment) -> list[str]:
    """Create the topics that the broker lacks and return their names; DaemonError if the broker refuses."""
    kafka = deployment.settings.kafka
    missing = await missing_topics(kafka, topics.named(deployment.pops))
    if missing:
        await create_topics(kafka, missing)
    return list(missing)


def foreign_packages() -> list[str]:
    """Return a problem for each distribution that owns one of our package names: it might be imported instead."""
    owners = packages_distributions()
    return [
        f"package {name} also belongs to {owner}: uninstall {owner}, or use a separate environment"
        for name in ("app", "agents", "tables")
        for owner in owners.get(name, [])
        if owner != DISTRIBUTION
    ]


async def _broker_problems(deployment: Deployment, clock: Clock) -> tuple[list[str], bool]:
    """The problems of the broker, its topics and its time, and whether every topic can be read."""
    kafka, wanted = deployment.settings.kafka, topics.named(deployment.pops)
    try:
        async with asyncio.timeout(ANSWER_S), client.started(client.admin(kafka, ANSWER_S)) as admin:
            existing = {entry["topic"]: entry for entry in await admin.describe_topics()}
            problems = await _topic_problems(admin, deployment, existing)
            problems += await _input_problems(kafka, existing.keys(), list(deployment.pops))
            if not (is_complete := wanted.keys() <= existing.keys()):
                return problems, is_complete
    except (KafkaError, TimeoutError) as error:
        unusable = set(credentials.problems(kafka, clock.now_s()))  # which are listed already
        return [] if client.why(kafka, error) in unusable else [client.unreachable(kafka, error)], False
    return [*problems, *await _clock_problems(kafka, clock)], is_complete


async def _clock_problems(kafka: Kafka, clock: Clock) -> list[str]:
    """What is wrong with the clock of this host, or why the broker does not say."""
    try:
        problem = warning(await host_ahead_s(kafka, clock))
    except DaemonError as error:
        return [str(error)]
    return [problem] if problem else []


async def _topic_problems(admin: AIOKafkaAdminClient, deployment: Deployment, existing: Mapping[str, Any]) -> list[str]:
    wanted = topics.named(deployment.pops)
    problems = [
        f"topic {name}: missing; create it ({_describe(topic)}), or all of them with `check --create-topics`"
        for name, topic in wanted.items()
        if name not in existing
    ]
    present = {name: topic for name, topic in wanted.items() if name in existing}
    for name, topic in present.items():
        partitions = existing[name]["partitions"]
        if len(partitions) != topic.partitions:
            counts = f"it has {len(partitions)} partitions and needs {topic.partitions}"
            problems.append(f"topic {name}: {counts}; delete it and create it again")
    ours = changelogs(existing, {deployment.cell_of(pop) for pop in deployment.pops})
    for name in (*present, *ours):
        problems += _replica_problems(name, existing[name]["partitions"])
    configs, of_changelogs = await _configs(admin, present), await _configs(admin, ours)
    for name, config in of_changelogs.items():
        problems += changelog_problems(name, len(existing[name]["partitions"]), config)
    return [
        *problems,
        *_cleanup_problems(configs, present),
        *_key_problems(configs, present),
        *_size_problems(configs, deployment.pops),
    ]


def _replica_problems(name: str, partitions: Sequence[Any]) -> Iterator[str]:
    """A problem for each partition that not all of its replicas have: the next failure could lose records."""
    for partition in partitions:
        if (in_sync := len(partition["isr"])) < (replicas := len(partition["replicas"])):
            yield f"topic {name}: only {in_sync} of {replicas} replicas are in sync; see which broker is down"


async def _input_problems(kafka: Kafka, existing: Collection[str], pops: Collection[str]) -> list[str]:
    """Return a problem for each input whose newest batch our workers cannot read: they would leave out all such."""
    inputs = [name for topic in topics.INPUTS for pop in pops if (name := topic.for_pop(pop)) in existing]
    try:
        reasons = await unreadable_batches(kafka, inputs) if inputs else {}
    except DaemonError as error:
        return [str(error)]
    return [
        f"topic {name}: its newest batch cannot be read: {reason}; see compression.type of the topic and of its writer"
        for name, reason in reasons.items()
    ]


async def _configs(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, dict[str, str]]:
    """The configuration in effect of each of these topics."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    responses = await admin.describe_configs(resources) if resources else []
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for response in responses
        for resource in response.resources
    }


def _cleanup_problems(configs: Mapping[str, Mapping[str, str]], wanted: Mapping[str, Topic]) -> Iterator[str]:
    """A problem for each topic with another cleanup policy: holes in the offsets of an input must mean loss."""
    for name, values in configs.items():
        policy = {part.strip() for part in values.get("cleanup.policy", "delete").split(",")}
        if policy != set(wanted[name].cleanup.split(",")):
            yield (
                f"topic {name}: cleanup.policy is {','.join(sorted(policy))}, must be {wanted[name].cleanup}; use"
                f" `kafka-configs --alter --topic {name} --add-config cleanup.policy=[{wanted[name].cleanup}]`"
            )


def _key_problems(configs: Mapping[str, Mapping[str, str]], wanted: Mapping[str, Topic]) -> Iterator[str]:
    """A problem for each topic whose records should have the broker's time and do not (`clock` says so when asked), or
    should be kept longer beside newer ones.
    """
    for name, key in ((name, key) for name in configs for key in ("message.timestamp.type", "min.compaction.lag.ms")):
        by = wanted[name].config.get(key)
        if by and name != topics.CLOCK.name and (found := configs[name].get(key)) != by:
            change = f"use `kafka-configs --alter --topic {name} --add-config {key}={by}`"
            yield f"topic {name}: {key} is {found}, must be {by}; {change}"


def _size_problems(configs: Mapping[str, Mapping[str, str]], pops: Mapping[str, Pop]) -> Iterator[str]:
    """A problem for each topic whose broker would refuse the largest decision of its PoP."""
    for pop in pops.values():
        topic = topics.DECISIONS.for_pop(pop.name)
        bytes_max = int(configs.get(topic, {}).get("max.message.bytes", TOPIC_BYTES_DEFAULT))
        if (problem := topic_problem(pop, topic, bytes_max)) is not None:
            yield problem


def _describe(topic: Topic) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in topic.config.items())
    return f"{topic.partitions} partition, {settings}"
