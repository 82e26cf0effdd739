"""What a guarded broker and its clients find in the run directory, and who can read it."""

from pathlib import Path

from app.config.tls_files import certificate
from app.kafka.credentials import load, read
from app.lab.daemons.guard import Guard
from app.lab.daemons.machine import Site
from app.lab.daemons.ports import StackPorts


def test_a_private_key_can_be_read_by_its_user_alone(tmp_path: Path) -> None:
    guard = Guard(Site(tmp_path, StackPorts(1, 2, 3, 4, 5), None), {"ams1": ["ams1"]})
    guard.properties()
    with_keys = [path for path in (tmp_path / "tls").iterdir() if "PRIVATE KEY" in path.read_text()]
    assert {path.name for path in with_keys} > {"broker.pem", "autopilot-view.key", "autopilot-sfacctd-ams1.key"}
    assert {path.stat().st_mode & 0o777 for path in with_keys} == {0o600}


def test_an_identity_is_the_name_of_its_certificate_and_can_be_renewed(tmp_path: Path) -> None:
    guard = Guard(Site(tmp_path, StackPorts(1, 2, 3, 4, 5), None), {"ams1": ["ams1"]})
    kafka = guard.kafka("autopilot-telemetry-ams1")
    before = read(kafka)
    assert certificate(before["cert_file"]).subject == "CN=autopilot-telemetry-ams1"
    guard.renew("autopilot-telemetry-ams1")
    after = read(kafka)
    assert load(kafka, after).context is not None
    assert [key for key in before if before[key] != after[key]] == ["cert_file", "key_file"]


def test_there_is_no_way_in_without_a_certificate(tmp_path: Path) -> None:
    properties = Guard(Site(tmp_path, StackPorts(1, 2, 3, 4, 5), None), {"ams1": ["ams1"]}).properties()
    assert "listener.security.protocol.map=BROKER:SSL,CONTROLLER:SSL\n" in properties
    assert "super.users=User:CN=broker;User:CN=admin\n" in properties
