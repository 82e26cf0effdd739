"""The bill of materials says what the lock says: every package that the product runs with, and none of the tests'."""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import sbom

LOCK = sbom.LOCK.read_text()
LOCKED = sbom.locked(LOCK)
PROJECT = tomllib.loads((sbom.ROOT / "pyproject.toml").read_text())["project"]
POM = "<project><licenses><license><name> MIT </name></license></licenses></project>"


@pytest.fixture(scope="module")
def made() -> Mapping[str, Any]:
    document: dict[str, Any] = json.loads(sbom.document(sbom.bill()))
    return document


def python(made: Mapping[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in made["components"] if each["purl"].startswith("pkg:pypi/")}


def test_the_lock_is_read_whole() -> None:
    assert len(LOCKED) == len(re.findall(r"^\S+==", LOCK, re.MULTILINE))
    assert sum(map(len, LOCKED.values())) == LOCK.count("--hash=sha256:")
    assert all(LOCKED.values()), "a package without a hash"


def test_each_package_is_as_locked(made: Mapping[str, Any]) -> None:
    for name, component in python(made).items():
        [files] = component["externalReferences"]
        assert [each["alg"] for each in files["hashes"]] == ["SHA-256"] * len(files["hashes"])
        assert {each["content"] for each in files["hashes"]} == {*LOCKED[name, component["version"]]}
        assert component["licenses"], f"{name} states no licence"


def test_it_has_all_of_the_lock_and_nothing_else(made: Mapping[str, Any]) -> None:
    elsewhere = {"colorama"}  # of Windows alone
    assert python(made).keys() == {name for name, _ in LOCKED} - elsewhere
    assert sbom.needed(PROJECT["dependencies"]) <= python(made).keys()


def test_it_says_what_needs_what(made: Mapping[str, Any]) -> None:
    needs = {each["ref"]: each.get("dependsOn", []) for each in made["dependencies"]}
    assert made["metadata"]["component"]["type"] == "application"
    assert len(needs[made["metadata"]["component"]["bom-ref"]]) == len(PROJECT["dependencies"])
    faust = next(ref for ref in needs if ref.startswith("pkg:pypi/faust-streaming@"))
    assert any(each.startswith("pkg:pypi/mode-streaming@") for each in needs[faust])


def test_the_page_and_the_local_stack_are_in_it(made: Mapping[str, Any]) -> None:
    scope = {each["purl"].partition("@")[0]: each["scope"] for each in made["components"]}
    assert scope["pkg:npm/uplot"] == "required"
    assert scope["pkg:golang/github.com/osrg/gobgp/v4"] == "excluded"
    assert {scope for purl, scope in scope.items() if purl.startswith(("pkg:deb/", "pkg:maven/"))} <= {"excluded"}


def test_a_jar_has_its_hash_and_what_maven_knows_of_it(tmp_path: Path) -> None:
    """The licence may stand in the pom of its parent."""
    for path, parent in (
        ("org/example/parent/3/parent-3.pom", ""),
        ("org/example/some-lib/1.2/some-lib-1.2.pom", "<artifactId>parent</artifactId><version>3</version>"),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        pom = f"<project><parent>{parent}</parent></project>" if parent else POM
        (tmp_path / path).write_text(pom)
    folder = tmp_path / "libs"
    folder.mkdir()
    (folder / "some-lib-1.2.jar").write_bytes(b"PK")
    (folder / "unknown-3.0-1.jar").write_bytes(b"PK2")
    known, unknown = sbom.jars(folder, tmp_path)
    assert (str(known.purl), str(unknown.purl)) == ("pkg:maven/org.example/some-lib@1.2", "pkg:maven/unknown@3.0-1")
    assert [each.content for each in known.hashes] == [hashlib.sha256(b"PK").hexdigest()]
    assert [str(each.id) for each in known.licenses] == ["MIT"]
    assert not unknown.licenses


def test_the_same_commit_makes_the_same_document() -> None:
    assert sbom.document(sbom.bill()) == sbom.document(sbom.bill())
