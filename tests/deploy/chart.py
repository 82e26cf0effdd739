"""The chart as helm renders it, and values for networks of any size."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tests.deploy.generated import CHART

ROOT = Path(__file__).parents[2]
INVENTORY = ROOT / "deploy" / "local" / "rhv1000.toml"
RELEASE, NAMESPACE = "autopilot", "egress"
IMAGES = {name: f"registry.test/{name.lower()}:1" for name in ("autopilot", "pmacct", "gobgpd", "oauth2Proxy")}
LOGIN: dict[str, Any] = {
    "issuer": "https://login.example.net",
    "clientId": "autopilot",
    "groups": ["netops"],
    "secret": "login",
}
KEY = {"name": "telemetry", "public": "A" * 43 + "=", "signs": ["decisions", "control"]}

Values = dict[str, Any]


class Item(NamedTuple):
    """One object: its kind with version, its name, and itself."""

    kind: str
    name: str
    document: dict[str, Any]


class Refused(Exception):
    """Helm refuses the values, or a template does; its text is what helm says."""


def inventory(pop: str) -> str:
    """The demo's inventory as that of another PoP: with its own addresses, none of which is of this machine."""
    number = int("".join(filter(str.isdecimal, pop)) or 255) % 256
    lines = INVENTORY.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#")).replace('"rhv1000"', f'"{pop}"')
    for before, after in (
        ('"127.0.0.', f'"10.{number}.0.'),
        ('"192.0.2.', f'"10.{number}.1.'),
        ("2001:db8:ffff::", f"2001:db8:ffff:{number + 1:x}::"),
        ("/injector-", f"/{pop}-"),
        ('bmp_sysname = "', f'bmp_sysname = "{pop}-'),
    ):
        text = text.replace(before, after)
    return text


def names(count: int) -> list[str]:
    """The names of this many PoPs."""
    return [f"pop{number:03}" for number in range(count)]


def values(*pops: str | Mapping[str, Any], **others: Any) -> Values:
    """Values for these PoPs, with everything on that can be."""
    entries = [{"name": pop} if isinstance(pop, str) else dict(pop) for pop in pops]
    found = {
        "pops": entries,
        "inventories": {entry["name"]: inventory(entry["name"]) for entry in entries},
        "images": IMAGES,
        "keys": {"decisions": "decisions-key"},
        "settings": {"pacing": {"lease_s": 240}, "trust": {"key": [KEY]}},
        "view": {"host": "autopilot.example.net", "login": LOGIN, "gateway": {"name": "edge", "namespace": "edge"}},
    }
    return found | others


def template(helm: Path, wanted: Values, chart: Path = CHART) -> list[Item]:
    """What helm makes of the chart with these values; Refused says why it does not."""
    return list(items_of(_run(helm, "template", RELEASE, str(chart), "--namespace", NAMESPACE, wanted=wanted)))


def lint(helm: Path, wanted: Values) -> None:
    """Let helm look for mistakes in the chart; Refused if it finds any."""
    _run(helm, "lint", "--strict", str(CHART), wanted=wanted)


def _run(helm: Path, *arguments: str, wanted: Values) -> str:
    done = subprocess.run(
        [str(helm), *arguments, "--values", "-"], input=json.dumps(wanted), text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def items_of(text: str) -> Iterator[Item]:
    """The objects of a YAML text."""
    for document in text.split("\n---\n"):
        found = msgspec.yaml.decode(document + "\n") if document.strip("-\n ") else None
        if found is not None:
            yield Item(f"{found['apiVersion']} {found['kind']}", found["metadata"]["name"], found)


def by_name(items: Sequence[Item]) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects by kind and name, of which there must be one each."""
    found = {(item.kind, item.name): item.document for item in items}
    assert len(found) == len(items), "two objects have one name"
    return found
