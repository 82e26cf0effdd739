"""The pod of the view, as the chart renders it, on this machine: its files in a folder, and what its containers run.

Only paths and addresses are others than in a pod.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.deploy.chart import Item, by_name

DEPLOYMENT = ("apps/v1 Deployment", "autopilot-view")
HERE = "127.0.0.1"


class Ports(NamedTuple):
    """Ports of HERE in place of those in the pod."""

    page: int
    view: int

    @property
    def replaced(self) -> Mapping[str, str]:
        """What stands in the files of the pod, and what stands there here."""
        return {
            "0.0.0.0:4180": f"{HERE}:{self.page}",
            "127.0.0.1:6072": f"{HERE}:{self.view}",
            'listen = "0.0.0.0"': f'listen = "{HERE}"',
            "data_dir =": f"view_port = {self.view}\ndata_dir =",
        }


class Container(NamedTuple):
    """What a container runs, after the program of its image."""

    args: list[str]
    env: dict[str, str]


def containers(
    items: Sequence[Item], secrets: Mapping[str, Mapping[str, str]], root: Path, ports: Ports
) -> dict[str, Container]:
    """Mount into `root` what the pod's containers mount, and return them by name.

    `secrets` are what others would make.
    """
    found = by_name(items)
    spec = found[DEPLOYMENT]["spec"]["template"]["spec"]
    maps = {name: document["data"] for (kind, name), document in found.items() if kind == "v1 ConfigMap"}
    volumes = {each["name"]: dict(_files(each, maps, secrets)) for each in spec["volumes"]}
    mounts = {each["mountPath"]: volumes[each["name"]] for of in spec["containers"] for each in of["volumeMounts"]}
    paths = re.compile("|".join(f"(?<![\\w/.]){re.escape(path)}(?![\\w-])" for path in mounts))

    def here(text: str) -> str:
        for there, replaced in ports.replaced.items():
            text = text.replace(there, replaced)
        return paths.sub(lambda path: f"{root}{path[0]}", text)

    for path, files in mounts.items():
        folder = root / path.removeprefix("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(here(text), encoding="utf-8")
    return {
        each["name"]: Container(
            [here(word) for word in each["args"]], {var["name"]: here(var["value"]) for var in each.get("env", ())}
        )
        for each in spec["containers"]
    }


def _files(
    volume: Mapping[str, Any], maps: Mapping[str, Mapping[str, str]], secrets: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, str]]:
    """The files of a volume with their content; KeyError names a ConfigMap, a Secret or an entry that is not there."""
    match volume:
        case {"projected": {"sources": sources}}:
            for source in sources:
                yield from _files(source, maps, secrets)
        case {"configMap": {"name": name, "items": items}}:
            yield from ((item["path"], maps[name][item["key"]]) for item in items)
        case {"secret": {"secretName": name}}:
            yield from secrets[name].items()
