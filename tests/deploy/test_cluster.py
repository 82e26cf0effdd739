"""What of `make cluster` needs no cluster: what it leaves behind, whom it trusts, what it reports."""

import asyncio
import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cryptography import x509

from app.config.settings import load
from app.errors import DaemonError
from app.lab.daemons.guard import ALLOW, ANY_HOST, OPERATIONS, PREFIXED, RESOURCES
from app.lab.pop.scenario import load_scenario
from tests.cluster import breaks, cgroups, pops, strimzi
from tests.cluster.build import above
from tests.cluster.images import PAUSE, of_program, write_archive
from tests.cluster.pki import API, IDENTITIES, write_pki
from tests.cluster.product import one_command
from tests.cluster.programs import MODULE, VERSION, stamps
from tests.cluster.steps import Steps

MOUNTS = """\
25 1 0:22 / /proc rw,relatime shared:5 - proc proc rw
30 26 0:27 / /sys/fs/cgroup/cpuset rw,nosuid shared:9 - cgroup cgroup rw,cpuset
31 26 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


@pytest.fixture
def trees(tmp_path: Path) -> list[Path]:
    """Two trees of control groups, which are folders here."""
    found = [tmp_path / name for name in ("cpuset", "memory")]
    for tree in found:
        tree.mkdir()
    return found


def test_trees_of_both_versions_are_found() -> None:
    assert cgroups.hierarchies(MOUNTS) == [Path("/sys/fs/cgroup/cpuset"), Path("/sys/fs/cgroup/unified")]


def test_a_group_takes_processes_at_once_and_goes_with_all_within(trees: list[Path]) -> None:
    (trees[0] / "cpuset.cpus").write_text("0-1\n")
    cgroups.create(trees, "x")
    assert (trees[0] / "x" / "cpuset.cpus").read_text() == "0-1\n"
    (trees[0] / "x" / "cpuset.cpus").unlink()  # a file of the kernel's is no obstacle
    for tree in trees:
        (tree / "x" / "pods" / "one").mkdir(parents=True)
        (tree / "y").mkdir()
    assert cgroups.remove(trees, "x") == []
    assert cgroups.remove(trees, "x") == []
    assert [path.name for tree in trees for path in tree.iterdir() if path.is_dir()] == ["y", "y"]


def test_a_group_with_processes_in_it_is_named(trees: list[Path]) -> None:
    cgroups.create(trees, "x")
    (trees[1] / "x" / "pods").mkdir()
    (trees[1] / "x" / "pods" / "process").touch()
    assert cgroups.remove(trees, "x") == [trees[1] / "x" / "pods", trees[1] / "x"]


def test_only_groups_whose_command_has_ended_are_abandoned(trees: list[Path], tmp_path: Path) -> None:
    for number in ("1", "2"):
        cgroups.create(trees, f"{cgroups.PREFIX}{number}")
    (trees[0] / "docker").mkdir()
    (tmp_path / "proc" / "2").mkdir(parents=True)
    assert cgroups.abandoned(trees, tmp_path / "proc") == {f"{cgroups.PREFIX}1"}


def test_the_keeper_ends_after_whoever_started_it_and_not_by_a_signal() -> None:
    argv = [sys.executable, "-m", "tests.cluster.cgroups", f"{cgroups.PREFIX}none"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cgroups.ROOT) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"ready\n"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(keeper.pid, number)
        keeper.stdin.close()
        assert keeper.wait() == 0


def test_the_parts_of_a_cluster_are_known_by_name_and_group(tmp_path: Path) -> None:
    write_pki(tmp_path / "pki")
    for each in IDENTITIES:
        certificate = x509.load_pem_x509_certificate((tmp_path / "pki" / f"{each.file}.crt").read_bytes())
        named = [str(part.value) for part in certificate.subject]
        assert named == [*([each.group] if each.group else []), each.name]
    config = json.loads((tmp_path / "pki" / "admin.kubeconfig").read_text())
    assert config["clusters"][0]["cluster"]["server"] == API
    key = base64.b64decode(config["users"][0]["user"]["client-key-data"])
    assert key == (tmp_path / "pki" / "admin.key").read_bytes()
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700


def test_an_archive_is_an_image_of_one_program(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    write_archive(tmp_path / "pause.tar", PAUSE, of_program(program), ["/pause"])
    with tarfile.open(tmp_path / "pause.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json") or pytest.fail("no file"))
        assert manifest[0]["RepoTags"] == [PAUSE]
        layer = archive.extractfile(manifest[0]["Layers"][0])
        with tarfile.open(fileobj=layer) as files:
            assert [(file.name, file.mode, file.size) for file in files] == [("pause", 0o755, 4)]


def test_programs_know_their_version() -> None:
    assert f"k8s.io/kubernetes {VERSION}\n" in (MODULE / "go.mod").read_text()
    found = list(stamps("v1.37.2"))
    assert "-X k8s.io/component-base/version.gitMinor=37" in found
    assert "-X k8s.io/client-go/pkg/version.gitVersion=v1.37.2" in found


async def test_a_step_that_fails_is_reported_and_ends_the_run() -> None:
    said: list[str] = []
    steps = Steps(said.append)
    async with steps.step("first"):
        await asyncio.sleep(0)
    with pytest.raises(DaemonError):
        async with steps.step("second"):
            raise DaemonError("no")
    assert [(step.step, step.ok) for step in steps.outcome.steps] == [("first", True), ("second", False)]
    assert not steps.outcome.ok
    assert said[-1].startswith("second: failed after")


def test_the_stand_in_for_strimzi_makes_what_its_objects_ask_for() -> None:
    acl = {
        "resource": {"type": "topic", "name": "bmp-", "patternType": "prefix"},
        "operations": ["Read", "Describe"],
    }
    user = {"kind": "KafkaUser", "metadata": {"name": "u"}, "spec": {"authorization": {"acls": [acl]}}}
    topic = {
        "kind": "KafkaTopic",
        "metadata": {"name": "t"},
        "spec": {"partitions": 2, "replicas": 3, "config": {"retention.ms": 60000}},
    }
    [made] = strimzi.topics([user, topic])
    assert (made.name, made.num_partitions, made.replication_factor) == ("t", 2, 3)
    assert made.topic_configs == {"retention.ms": "60000"}
    on = [RESOURCES["topic"], "bmp-", PREFIXED, "User:CN=u", ANY_HOST]
    asked = [list(vars(request).values()) for request in strimzi.rights([user, topic])]
    assert asked == [[*on, OPERATIONS[each], ALLOW] for each in ("Read", "Describe")]


def test_a_pod_for_one_command_is_as_the_chart_makes_it() -> None:
    container = {"name": "telemetry", "image": "x", "args": ["telemetry"], "livenessProbe": {}, "readinessProbe": {}}
    spec = {
        "securityContext": {"runAsNonRoot": True},
        "initContainers": [{}],
        "containers": [container, {}],
        "volumes": [{"name": "settings"}],
    }
    claims = [{"metadata": {"name": "data"}}]
    workload = {"spec": {"template": {"spec": spec}, "volumeClaimTemplates": claims}}
    assert one_command(workload, "check", ["--version"])["spec"] == {
        "securityContext": {"runAsNonRoot": True},
        "restartPolicy": "Never",
        "containers": [{"name": "telemetry", "image": "x", "args": ["--version"]}],
        "volumes": [{"name": "settings"}, {"name": "data", "emptyDir": {}}],
    }


def test_lost_bytes_fail_a_step() -> None:
    steps = Steps(lambda line: None)

    async def lose() -> None:
        async with steps.step("nothing is lost") as counted:
            counted.add(sent=10, lost=0, doubled=0, aside=0)
        async with steps.step("something is") as counted:
            counted.add(sent=10, lost=1, doubled=0, aside=0)
            counted.add(sent=10, lost=0, doubled=2, aside=0)

    with pytest.raises(DaemonError, match="something is: 1 bytes were lost, and 2 doubled"):
        asyncio.run(lose())
    found = [(step.ok, step.bytes_lost, step.bytes_doubled) for step in steps.outcome.steps]
    assert found == [(True, 0, 0), (False, 1, 2)]
    assert not steps.outcome.ok


def test_pops_outside_of_the_cluster_can_be_in_one_deployment(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    for number, name in enumerate(names):
        (tmp_path / f"{name}.toml").write_text(pops.inventory(name, number))
    (tmp_path / "autopilot.toml").write_text(f"pops = {json.dumps([f'{name}.toml' for name in names])}\n")
    found = load(tmp_path / "autopilot.toml", {}).pops
    routers = [router for pop in found.values() for router in pop.router]
    assert {router.injector.address for router in routers} == {pops.Cable(number).node for number in range(3)}
    assert len({router.ibgp_address for router in routers}) == len(routers)
    for number, name in enumerate(names):
        load_scenario(breaks.STEADY.scenario, found[name])
        assert pops.entry(name, number)["sflowAddress"] == pops.Cable(number).sflow


def test_only_layers_above_the_base_count(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    files = of_program(Path("/bin/true"))
    write_archive(archive, "registry.test/x:1", files)
    assert above(archive, "") == pytest.approx(len(files) / 1e6)
    assert above(archive, f"[sha256:0 sha256:{hashlib.sha256(files).hexdigest()}]") == 0
