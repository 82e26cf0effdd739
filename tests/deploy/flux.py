"""The folder that Flux reads: its objects as kustomize makes them, and the values of each cluster."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.deploy.chart import ROOT, Item, Values, items_of
from tests.deploy.tools import Tools

FOLDER = ROOT / "deploy" / "flux"


def clusters() -> list[Path]:
    """The folder of each cluster."""
    return sorted((FOLDER / "clusters").iterdir())


def objects(tools: Tools, cluster: Path) -> list[Item]:
    """What Flux's kustomize-controller makes of the folder of a cluster."""
    command = [str(tools.kubectl), "kustomize", str(cluster)]
    return list(items_of(subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True).stdout))


def values(cluster: Path) -> Values:
    """What its HelmRelease gives to the chart."""
    found: Values = msgspec.yaml.decode((cluster / "values.yaml").read_bytes())
    return found


def problems(cluster: Path, items: list[Item]) -> Iterator[str]:
    """Where the objects of a cluster name another's files, or files that there are not."""
    own = f"./{cluster.relative_to(ROOT)}"
    for item in items:
        spec = item.document.get("spec", {})
        match item.document["kind"]:
            case "Kustomization" if spec["path"] != own:
                yield f"{cluster.name}: the path of the Kustomization is {spec['path']}, and not {own}"
            case "HelmRelease":
                chart = spec["chart"]["spec"]
                if chart["valuesFiles"] != [f"{chart['chart']}/values.yaml", f"{own}/values.yaml"]:
                    yield f"{cluster.name}: the values are not those of the chart and then of {own}"
                if not (ROOT / chart["chart"] / "Chart.yaml").is_file():
                    yield f"{cluster.name}: there is no chart {chart['chart']}"
