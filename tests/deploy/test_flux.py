"""The folder that Flux reads: that each check of it finds what it is for. `make gitops` shows it to Flux itself."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import flux
from tests.deploy.chart import Item
from tests.deploy.tools import Tools, tools

pytestmark = [pytest.mark.services, pytest.mark.xdist_group("deploy")]

EAST = flux.FOLDER / "clusters" / "east"


@pytest.fixture(scope="module")
def made() -> Tools:
    return tools()


@pytest.fixture(scope="module")
def east(made: Tools) -> list[Item]:
    return flux.objects(made, EAST)


def test_a_cluster_is_four_objects(east: list[Item]) -> None:
    kinds = ["GitRepository", "HelmRelease", "Kustomization", "Namespace"]
    assert sorted(item.document["kind"] for item in east) == kinds
    assert list(flux.problems(EAST, east)) == []


@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [
        ("Kustomization", lambda spec: spec.update(path="./deploy/flux/clusters/west"), "path"),
        ("HelmRelease", lambda spec: spec["chart"]["spec"]["valuesFiles"].reverse(), "values"),
        ("HelmRelease", lambda spec: spec["chart"]["spec"].update(chart="./deploy/helm/pilot"), "no chart"),
    ],
)
def test_what_names_others_is_found(
    east: list[Item], kind: str, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    items = copy.deepcopy(east)
    change(next(item.document["spec"] for item in items if item.document["kind"] == kind))
    assert named in str(list(flux.problems(EAST, items)))


def test_hosts_are_examples(east: list[Item]) -> None:
    [url] = [item.document["spec"]["url"] for item in east if item.document["kind"] == "GitRepository"]
    assert url.startswith("https://git.example.net/")
    images = flux.values(EAST)["images"].values()
    assert all(image.startswith("registry.example.net/") for image in images)


def test_a_copied_folder_needs_its_name_and_nothing_else(made: Tools, east: list[Item], tmp_path: Path) -> None:
    shutil.copytree(flux.FOLDER, tmp_path / "flux")
    west = tmp_path / "flux" / "clusters" / "west"
    shutil.copytree(EAST, west)
    file = west / "kustomization.yaml"
    file.write_text(file.read_text().replace("clusters/east", "clusters/west"))
    assert str(flux.objects(made, west)) == str(east).replace("clusters/east", "clusters/west")
