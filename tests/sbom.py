"""`make sbom`: what the product is made of, and what the local stack runs, as CycloneDX JSON.

What the product needs at run time is `required`: Python packages with the hashes that the lock allows, and uPlot, which
comes with the page. What only `make demo` and the tests run is `excluded`: Kafka's jars, Debian packages, and the Go
modules of gobgpd 4. Licences are as the packages state them; of Go modules they are not known here.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import NamedTuple

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OUT = ROOT / "dist" / "egress-autopilot.cdx.json"
LOCK = ROOT / "requirements.lock"
JARS = ROOT / ".cache" / "kafka" / "libs"
STACK = ROOT / "deploy" / "local"
UPLOT = ROOT / "app" / "web" / "static" / "vendor" / "uPlot.iife.min.js"
MAVEN = Path.home() / ".m2" / "repository"  # where Maven keeps what it copied from
PARENTS_MAX = 5
LICENCE_CHARS_MAX = 100  # some packages put the whole text where its name belongs


class Part(NamedTuple):
    """A package: its kind and coordinates as in a package URL."""

    kind: str
    name: str
    version: str
    group: str | None = None
    licences: Sequence[str] = ()

    def component(self, scope: ComponentScope) -> Component:
        """As CycloneDX has it."""
        purl = PackageURL(self.kind, self.group, self.name, self.version)
        return Component(
            type=ComponentType.LIBRARY,
            name=self.name,
            group=self.group,
            version=self.version,
            scope=scope,
            purl=purl,
            bom_ref=str(purl),
            licenses=_licences(self.licences),
        )


def _licences(names: Sequence[str]) -> list[License]:
    if len(names) == 1:
        return [LicenseFactory().make_from_string(names[0])]
    return [LicenseFactory().make_with_name(name) for name in sorted({*names})]


# Python


def locked(text: str) -> dict[tuple[str, str], list[str]]:
    """The SHA-256 of every file that the lock allows, by name and version."""
    allowed: dict[tuple[str, str], list[str]] = {}
    for name, version, hashes in re.findall(r"^([\w.-]+)==([^ ]+)((?:.*\\\n)*.*)", text, re.MULTILINE):
        allowed[canonicalize_name(name), version] = re.findall(r"sha256:([0-9a-f]{64})", hashes)
    return allowed


def needed(lines: Sequence[str]) -> set[str]:
    """The packages that these requirements name, here."""
    wanted = [Requirement(line) for line in lines]
    return {
        canonicalize_name(each.name) for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def closure(direct: set[str]) -> dict[str, set[str]]:
    """These packages and all that they need, as installed: by name, what each needs."""
    needs, due = dict[str, set[str]](), [*direct]
    while due:
        if (name := due.pop()) not in needs:
            needs[name] = needed(distribution(name).requires or [])
            due += needs[name]
    return needs


def stated_licences(of: Distribution) -> list[str]:
    """What a Python package says of its licence."""
    for key in ("License-Expression", "License"):
        if (stated := of.metadata[key]) and len(stated) <= LICENCE_CHARS_MAX and "\n" not in stated:
            return [stated]
    classifiers = of.metadata.get_all("Classifier") or []
    return [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: ")]


def python_packages(names: Sequence[str], allowed: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[Component]:
    """These packages as installed; KeyError if the lock has not this version of one."""
    for name in names:
        installed = distribution(name)
        component = Part("pypi", name, installed.version, None, stated_licences(installed)).component(
            ComponentScope.REQUIRED
        )
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=each) for each in allowed[name, installed.version]]
        component.external_references.add(
            ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(component.purl)), hashes=hashes)
        )
        yield component


def uplot() -> Component:
    """The library of the page's charts."""
    found = re.search(r"\(v([\d.]+)\)", UPLOT.read_text(encoding="utf-8")[:200])
    assert found is not None, f"{UPLOT} does not say its version"
    return _hashed(Part("npm", "uplot", found[1], None, ["MIT"]).component(ComponentScope.REQUIRED), UPLOT)


def _hashed(component: Component, file: Path) -> Component:
    component.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(file.read_bytes()).hexdigest()))
    return component


# the local stack


def jars(folder: Path, repository: Path) -> Iterator[Component]:
    """The jars of a folder; the group and the licence are known of those that Maven's repository has, too."""
    for jar in sorted(folder.glob("*.jar")):
        found = re.fullmatch(r"(.+?)-(\d.*)\.jar", jar.name)
        assert found is not None, f"{jar.name} names no version"
        pom = next(repository.rglob(jar.with_suffix(".pom").name), None)
        group = None if pom is None else ".".join(pom.parent.parent.parent.relative_to(repository).parts)
        part = Part("maven", found[1], found[2], group, pom_licences(pom, repository))
        yield _hashed(part.component(ComponentScope.EXCLUDED), jar)


def pom_licences(pom: Path | None, repository: Path) -> list[str]:
    """The licences in a pom, or in the nearest of its parents that names any."""
    for _ in range(PARENTS_MAX):
        if pom is None:
            break
        text = pom.read_text(encoding="utf-8", errors="replace")
        if names := re.findall(r"<license>.*?<name>\s*(.*?)\s*</name>", text, re.DOTALL):
            return names
        parent = re.search(r"<parent>(.*?)</parent>", text, re.DOTALL)
        named = dict(re.findall(r"<(artifactId|version)>\s*(.*?)\s*<", parent[1])) if parent else {}
        pom = next(repository.rglob(f"{named.get('artifactId')}-{named.get('version')}.pom"), None)
    return []


def debian_packages() -> Iterator[Component]:
    """The packages that `make install` installs, as far as they are here; what they need is Debian's matter."""
    scripts = "".join(script.read_text() for script in sorted(STACK.glob("*.sh")))
    [packages] = re.findall(r'^packages="(.+)"$', scripts, re.MULTILINE)
    argv = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages.split()]
    for line in subprocess.run(argv, capture_output=True, text=True).stdout.splitlines():
        name, _, version = line.partition(" ")
        if version:
            yield Part("deb", name, version, "debian", debian_licences(name)).component(ComponentScope.EXCLUDED)


def debian_licences(package: str) -> list[str]:
    """The short names of the licences in a package's machine-readable copyright file."""
    path = Path("/usr/share/doc") / package / "copyright"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    if not text.startswith("Format:"):
        return []
    return sorted(
        {name for name in re.findall(r"^License: *(\S.*?) *$", text, re.MULTILINE) if len(name) <= LICENCE_CHARS_MAX}
    )


def go_modules() -> Iterator[Component]:
    """The modules of gobgpd 4, each with the hash that go.sum has of it."""
    sums = dict(re.findall(r"^(\S+ v\S+) (h1:\S+)$", (STACK / "gobgp4" / "go.sum").read_text(), re.MULTILINE))
    for path, version in re.findall(
        r"^(?:require )?\s*(\S+/\S+) (v\S+)", (STACK / "gobgp4" / "go.mod").read_text(), re.MULTILINE
    ):
        group, _, name = path.rpartition("/")
        component = Part("golang", name, version, group).component(ComponentScope.EXCLUDED)
        component.properties.add(Property(name="go.sum", value=sums.get(f"{path} {version}", "unknown")))
        yield component


# all of it


def bill() -> Bom:
    """All of it. The same commit on the same machine makes the same document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = closure(needed(project["dependencies"]))
    root = Part("pypi", project["name"], project["version"], None, [project["license"]]).component(
        ComponentScope.REQUIRED
    )
    root.type = ComponentType.APPLICATION
    python = {each.name: each for each in python_packages(sorted(needs), locked(LOCK.read_text()))}
    stack = [*jars(JARS, MAVEN), *debian_packages(), *go_modules()]
    bom = Bom(components=[*python.values(), uplot(), *stack])
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromtimestamp(int(_git("log", "-1", "--format=%ct")), UTC)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, _git("rev-parse", "HEAD"))
    bom.register_dependency(root, [python[name] for name in sorted(needed(project["dependencies"]))])
    for name, others in needs.items():
        bom.register_dependency(python[name], [python[other] for other in sorted(others)])
    return bom


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def document(of: Bom) -> str:
    """A bill as JSON."""
    return str(JsonV1Dot6(of).output_as_string(indent=2)) + "\n"


def main() -> None:
    """Write it, and say where and how much."""
    parser = argparse.ArgumentParser(prog="python -m tests.sbom", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=OUT, help=f"default: {OUT.relative_to(ROOT)}")
    file: Path = parser.parse_args().file
    made = bill()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document(made), encoding="utf-8")
    sys.stdout.write(f"{file}: {len(made.components)} components\n")


if __name__ == "__main__":
    main()
