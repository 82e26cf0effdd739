"""The checks of `make deploy-check`, each a function that returns what it found wrong."""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
from click.testing import CliRunner
from prometheus_client import REGISTRY

from app import metrics  # noqa: F401 - registers them
from app.cli import sizing
from app.cli.acls import kafka_users
from app.cli.main import main
from app.config.forms import ANY_ADDRESS
from app.config.settings import load
from app.contract import topics
from app.contract.identities import identities
from tests.deploy import chaos, flux, wide
from tests.deploy.chart import (
    IMAGES,
    LOGIN,
    Item,
    Refused,
    Values,
    by_name,
    inventory,
    lint,
    names,
    template,
    values,
)
from tests.deploy.login import login
from tests.deploy.pods import references, restricted
from tests.deploy.tools import Tools
from tests.deploy.typos import typos

SIZES = (1, 10, 100)
SETTINGS = "autopilot.toml"
# What one more PoP may change: whatever is about all PoPs.
OF_ALL_POPS = {
    ("v1 ConfigMap", "autopilot-view"),
    ("apps/v1 Deployment", "autopilot-view"),
    ("kafka.strimzi.io/v1 KafkaUser", "autopilot-view"),
    ("kafka.strimzi.io/v1 KafkaUser", "autopilot-operator"),
    ("kafka.strimzi.io/v1 KafkaUser", "autopilot-consumer"),
    ("kafka.strimzi.io/v1 KafkaNodePool", "autopilot-brokers"),
}
INCOMPLETE = "own Kafka"  # where others make the secrets
SECRETS = {"autopilot-cluster-ca-cert", "decisions-key", LOGIN["secret"]}
OBJECT_MAX_BYTES = 1024 * 1024  # of a ConfigMap; of others somewhat more
LOOPBACK = re.compile(r"(?<![\w.:])(127\.[\d.]+|localhost|::1)(?![\w:])")
# The proxy of the view, to the view beside it, which believes nobody else.
MAY_BE_LOOPBACK = (
    'uri: "http://127.0.0.1:6072"',
    'uri: "http://[::1]:6072"',
    'proxies = ["127.0.0.1"]',
    'proxies = ["::1"]',
)
RATE = 2000.0  # records a second of a PoP, for which the values say they are


class Report(msgspec.Struct):
    """What was checked, and every problem."""

    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    typos_planted: int = 0
    typos_refused: int = 0
    mistakes_refused: int = 0
    problems: list[str] = []


class Schemas:
    """Strict schemas, compiled once for each kind."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._validator = cache(self._compile)

    def problems(self, kind: str, document: dict[str, Any]) -> list[str]:
        """What is wrong with an object of this kind."""
        if kind not in self._tools.kinds:
            return [f"{kind}: no schema"]
        found = self._validator(kind).iter_errors(document)
        name = document.get("metadata", {}).get("name")
        return [f"{kind} {name}: {'.'.join(map(str, error.instance_path))}: {error.message}" for error in found]

    def _compile(self, kind: str) -> jsonschema_rs.Draft7Validator:
        return jsonschema_rs.Draft7Validator({**self._tools.kinds[kind], "$defs": self._tools.definitions})


def variants() -> dict[str, Values]:
    """Values that render what the usual ones do not."""
    pop = names(1)[0]
    ingress = values(pop)
    ingress["view"] = {**ingress["view"], "gateway": {}, "ingress": {"className": "nginx", "tlsSecret": "tls"}}
    own_kafka = {"strimzi": False, "create": False, "broker": "kafka.example.net:9093"}
    return {
        "ingress": ingress,
        "own Kafka": values(pop, kafka=own_kafka),
        "one cell": values(*({"name": name, "cell": "small"} for name in names(3))),
        "bare": values(pop, view={}, monitoring={"enabled": False}, networkPolicies=False, priority={"create": False}),
        "IPv6": values(pop, listen="::"),
        "40 routers": values(pop, inventories={pop: wide.inventory(pop, routers=40)}),
        "no PoP": values(),
    }


def run(tools: Tools) -> Report:
    """Every check."""
    report, schemas = Report(), Schemas(tools)
    four, three = tools.helms["helm4"], tools.helms["helm3"]
    rendered = {count: template(four, values(*names(count))) for count in SIZES}
    wanted = variants() | {f"cluster {cluster.name}": flux.values(cluster) for cluster in flux.clusters()}
    others = {name: template(four, wanted) for name, wanted in wanted.items()}
    for items in (*rendered.values(), *others.values()):
        hold(report, schemas, items)
        report.problems += (*loopback(items), *restricted(items), *too_large(items))
    for items in (
        *rendered.values(),
        *(items for name, items in others.items() if name != INCOMPLETE and wanted[name]["pops"]),
    ):
        report.problems += references(items, SECRETS)
    of_flux = {cluster: flux.objects(tools, cluster) for cluster in flux.clusters()}
    for cluster, items in of_flux.items():
        hold(report, schemas, items)
        report.problems += flux.problems(cluster, items)
    planned = chaos.objects()
    hold(report, schemas, planned)
    report.problems += chaos.problems(planned, template(four, values(chaos.POP)))
    plant(report, schemas, [*rendered[1], *others["ingress"], *chain.from_iterable(of_flux.values()), *planned])
    for helm in (four, three):
        for count in SIZES[:2]:
            lint(helm, values(*names(count)))
        for cluster in flux.clusters():
            lint(helm, flux.values(cluster))
    if by_name(template(three, values(*names(10)))) != by_name(rendered[10]):
        report.problems.append("helm 3 and helm 4 render different objects")
    report.problems += one_more_pop(rendered[10], template(four, values(*names(11))), names(11)[-1])
    report.problems += what_we_say_ourselves(rendered[10], {name: [name] for name in names(10)})
    report.problems += what_we_say_ourselves(others["one cell"], {"small": names(3)})
    for items in (rendered[1], others["one cell"], others["IPv6"]):
        report.problems += (*what_runs(items), *login(items))
    report.problems += sizes(rendered)
    report.problems += alerts(rendered[1])
    refuse(report, four)
    return report


def hold(report: Report, schemas: Schemas, items: Sequence[Item]) -> None:
    """Count these objects, and hold each against the schema of its kind."""
    report.kinds.update(item.document["kind"] for item in items)
    report.problems += [text for item in items for text in schemas.problems(item.kind, item.document)]


def loopback(items: Sequence[Item]) -> Iterator[str]:
    """Texts that name an address of which only the pod itself hears."""
    for item in items:
        text = msgspec.json.encode(item.document).decode().replace('\\"', '"')
        for allowed in MAY_BE_LOOPBACK:
            text = text.replace(allowed, "")
        yield from (f"{item.kind} {item.name} names {name}" for name in LOOPBACK.findall(text))


def too_large(items: Sequence[Item]) -> Iterator[str]:
    """Objects that an API server does not take, and lists of routers at a load balancer, whose rules are few."""
    for item in items:
        if (size := len(msgspec.json.encode(item.document))) > OBJECT_MAX_BYTES:
            yield f"{item.kind} {item.name} has {size:,} bytes, and {OBJECT_MAX_BYTES:,} are possible"
        if "loadBalancerSourceRanges" in item.document.get("spec", {}):
            yield f"{item.kind} {item.name} has a rule of the load balancer for each router"


def plant(report: Report, schemas: Schemas, items: Sequence[Item]) -> None:
    """Misspell each key of one object of each kind, and count how many the schemas refuse."""
    for item in {item.kind: item for item in items}.values():
        for path, planted in typos(item.document):
            report.typos_planted += 1
            if schemas.problems(item.kind, planted):
                report.typos_refused += 1
            else:
                report.problems.append(f"{item.kind}: a typo in {path} is not refused")


def one_more_pop(before: Sequence[Item], after: Sequence[Item], pop: str) -> Iterator[str]:
    """What else differs than the objects of the PoP, and those about all PoPs."""
    old, new = by_name(list(before)), by_name(list(after))
    yield from (f"{kind} {name} is gone with one more PoP" for kind, name in old.keys() - new.keys())
    for key in new.keys() - old.keys():
        labels = new[key]["metadata"]["labels"]
        if pop not in (labels.get("autopilot/pop"), labels.get("autopilot/cell")):
            yield f"{' '.join(key)} is new with one more PoP, and not of it"
    changed = {key for key in old.keys() & new.keys() if old[key] != new[key]}
    yield from (f"{kind} {name} changes with one more PoP" for kind, name in changed - OF_ALL_POPS)


def what_we_say_ourselves(items: Sequence[Item], cells: dict[str, list[str]]) -> Iterator[str]:
    """Where topics and rights are not those of our own tables."""
    pops = [pop for of_cell in cells.values() for pop in of_cell]
    users = {item.name: item.document for item in items if item.document["kind"] == "KafkaUser"}
    for text in kafka_users(identities(cells), "autopilot", "tls"):
        wanted = msgspec.yaml.decode(text)
        found = users.pop(wanted["metadata"]["name"], None)
        if found is None or _rights(found) != _rights(wanted):
            yield f"KafkaUser {wanted['metadata']['name']} has other rights than `render acls` prints"
    yield from (f"KafkaUser {name} is nobody's identity" for name in users)
    found_topics = {
        item.name: (item.document["spec"]["partitions"], item.document["spec"]["config"])
        for item in items
        if item.document["kind"] == "KafkaTopic"
    }
    if found_topics != {name: (topic.partitions, topic.config) for name, topic in topics.named(pops).items()}:
        yield "the KafkaTopics are not those of app/contract/topics.py"


def _rights(user: dict[str, Any]) -> set[tuple[str, ...]]:
    """Each right of a user by itself."""
    return {
        (rule["resource"]["type"], rule["resource"]["name"], rule["resource"]["patternType"], operation)
        for rule in user["spec"]["authorization"]["acls"]
        for operation in rule["operations"]
    }


def what_runs(items: Sequence[Item]) -> Iterator[str]:
    """What our own program says of the files and arguments that the pods give it."""
    data = {item.name: item.document["data"] for item in items if item.document["kind"] == "ConfigMap"}
    inventories = {file: text for files in data.values() for file, text in files.items() if file.endswith(".toml")}
    maps = {name: inventories | files for name, files in data.items() if SETTINGS in files}
    for name, files in maps.items():
        with _folder(files) as folder:
            listen = load(folder / SETTINGS, {}).settings.http.listen
        if listen not in ANY_ADDRESS:
            yield f"{name}: http.listen is {listen}"
    for item in items:
        pod = item.document.get("spec", {}).get("template", {}).get("spec", {})
        for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
            if container["image"] == IMAGES["autopilot"]:
                yield from (f"{item.name}: {text}" for text in _arguments(container["args"], pod["volumes"], maps))


@contextmanager
def _folder(files: Mapping[str, str]) -> Iterator[Path]:
    """A folder with these files, as a pod mounts it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        yield Path(folder)


def _arguments(arguments: list[str], volumes: list[Any], maps: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Whether our command knows these arguments; what it renders must not listen on loopback."""
    if arguments[0] != "render":
        known = CliRunner().invoke(main, [*arguments, "--help"])
        yield from [f"{arguments}: {known.output}"] if known.exit_code else []
        return
    settings = next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "settings")
    with _folder(maps[settings]) as folder:
        mounted = {"--config": str(folder / SETTINGS), "--out": str(folder / "out")}
        given = [mounted.get(before, each) for before, each in pairwise(["", *arguments])]
        done = CliRunner().invoke(main, [each.replace("$(NUMBER)", "0") for each in given])
        if done.exit_code:
            yield f"{arguments}: {done.output}"
            return
        for path in (folder / "out").iterdir():
            text = path.read_text(encoding="utf-8")
            yield from (f"{path.name} names {name}" for name in LOOPBACK.findall(text))
            if path.suffix == ".conf" and not any(f"_ip: {address}\n" in text for address in ANY_ADDRESS):
                yield f"{path.name} does not listen on all addresses"


def alerts(items: Sequence[Item]) -> Iterator[str]:
    """What promtool says of the alerts, and metrics in them and in the dashboard that nobody has."""
    rules = next(item.document["spec"] for item in items if item.document["kind"] == "PrometheusRule")
    dashboard = next(item.document["data"] for item in items if item.name == "autopilot-dashboard")["autopilot.json"]
    text = msgspec.json.encode(rules).decode()
    named = set(re.findall(r"\bautopilot_[a-z_]+", text + dashboard)) - {"autopilot_cell"}
    known = {name for collector in REGISTRY._collector_to_names.values() for name in collector}
    yield from (f"the alerts or the dashboard name {name}, and there is no such metric" for name in named - known)
    msgspec.json.decode(dashboard)
    promtool = ["promtool", "check", "rules", "--lint=all", "--lint-fatal", "/dev/stdin"]
    done = subprocess.run(promtool, input=text, text=True, capture_output=True, check=False)
    yield from [f"promtool: {done.stdout}{done.stderr}"] if done.returncode else []


def sizes(rendered: dict[int, list[Item]]) -> Iterator[str]:
    """Where the chart gives less than `autopilot size` says for networks of PoPs of the usual rate."""
    constants = sizing.load_constants()
    for count, items in rendered.items():
        network = sizing.NetworkSize(pops=count, records_per_second=RATE)
        figures = {figure.name: figure.value for figure in sizing.size(network, constants)}
        found = by_name(items)
        pool = found["kafka.strimzi.io/v1 KafkaNodePool", "autopilot-brokers"]["spec"]
        disk = pool["replicas"] * quantity(pool["storage"]["volumes"][0]["size"])
        cores = pool["replicas"] * quantity(pool["resources"]["requests"]["cpu"])
        pod = found["apps/v1 StatefulSet", "autopilot-telemetry-pop000"]["spec"]["template"]["spec"]
        requests = pod["containers"][0]["resources"]["requests"]
        given = {
            "brokers": pool["replicas"],
            "disk of all brokers": disk,
            "cores of all brokers": cores * constants.broker_load_max.value,
            "cores of a telemetry worker": quantity(requests["cpu"]),
            "memory of a telemetry worker": quantity(requests["memory"]),
        }
        for name, value in given.items():
            if value < figures[name]:
                yield f"{count} PoPs: {name}: the chart gives {value:g}, `autopilot size` says {figures[name]:g}"


def quantity(text: str) -> float:
    """A quantity of Kubernetes as a number."""
    units = {"m": 0.001, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
    number = text.rstrip("mKMGTi")
    return float(number) * units.get(text.removeprefix(number), 1.0)


def mistakes() -> dict[str, tuple[Values, str]]:
    """Values with one mistake each, and what the refusal has to name."""
    pop = names(1)[0]
    other = {"name": pop, "cell": "a"}
    good = values(pop)
    return {
        "a PoP twice": ({**good, "pops": [{"name": pop}, {"name": pop}]}, "pops"),
        "a PoP in two cells": ({**good, "pops": [{"name": pop}, other]}, f"{pop} is there twice"),
        "a key of a PoP": (values({"name": pop, "mod": "auto"}), "mod"),
        "a mode": (values({"name": pop, "mode": "on"}), "mode"),
        "a name": ({**good, "pops": [{"name": "IAD_1"}]}, "name"),
        "no inventory": ({**good, "inventories": {}}, f"inventories/{pop}.toml"),
        "another's inventory": ({**good, "inventories": {pop: inventory("iad")}}, "iad"),
        "two modes in a cell": (
            values({"name": "a", "cell": "c", "mode": "auto"}, {"name": "b", "cell": "c"}),
            "one mode",
        ),
        "a socket elsewhere": (
            {**good, "inventories": {pop: inventory(pop).replace("/run/autopilot/", "/tmp/")}},
            "injector.grpc",
        ),
        "no image": ({**good, "images": {}}, "images.autopilot"),
        "an image without a tag": ({**good, "images": {"autopilot": "registry.test/autopilot"}}, "images"),
        "a setting": ({**good, "settings": {"pacing": {"leases": 1}}}, "leases"),
        "a setting of the chart": ({**good, "settings": {"kafka": {"broker": "x:1"}}}, "broker"),
        "a setting's type": ({**good, "settings": {"windows": {"length_s": 0.5}}}, "length_s"),
        "a page without a login": ({**good, "view": {"host": "a.example.net"}}, "login"),
        "a scope without openid": ({**good, "view": {"login": {"scope": "email"}}}, "scope"),
        "a key of the values": ({**good, "pop": []}, "pop"),
    }


def refuse(report: Report, helm: Path) -> None:
    """Let helm refuse each mistake."""
    for name, (wanted, named) in mistakes().items():
        try:
            template(helm, wanted)
        except Refused as refusal:
            if named in str(refusal):
                report.mistakes_refused += 1
            else:
                report.problems.append(f"{name}: the refusal does not name {named}: {refusal}")
        else:
            report.problems.append(f"{name} is not refused")
