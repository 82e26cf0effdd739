"""The generated messages are those of our proto, and its names and numbers are those of both official ones."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from app.bgp.dialect import DIALECTS, Dialect, Lookup, PathTable, PeerEvent, Watch
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.proto import policy_pb2
from app.bgp.wire import AS_SEQUENCE, RECEIVES, SENDS
from tests.app.bgp.generate import GENERATED, ROOT, generate
from tests.app.bgp.gobgpd import BUILT

MAJORS = dict(zip(DIALECTS, (3, 4), strict=True))
# Ours is called otherwise for a reason that gobgp.proto gives, or does not exist in GoBGP 3.
RENAMED = {"Nlri": "NLRI", "GetBgpResponse.config": "global"}
OURS = {"Condition"}  # has no field
NEW_CONDITIONS = {f"Conditions.{name}" for name in ("community_count", "origin", "local_pref_eq", "med_eq")}
ONLY_IN_4 = {"Nlri", "Attribute", "Capability", "AddPathStreamResponse", "ResetPeerResponse"} | NEW_CONDITIONS
WATCHED = "WatchEventRequest.Table.Filter.Type"
BYTES = (FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_BYTES, FieldDescriptorProto.TYPE_STRING)


@pytest.mark.parametrize("name", GENERATED)
def test_regenerating_gives_the_committed_file(name: str, tmp_path: Path) -> None:
    generate(tmp_path)
    assert (tmp_path / name).read_text() == (ROOT / name).read_text(), "run python -m tests.app.bgp.generate"


class Official:
    """The messages and enums in the protos of a pinned release, by name; those of a message have its name in front."""

    def __init__(self, major: int, folder: Path) -> None:
        root, compiled = BUILT / f"protos{major}", folder / "official"
        protos = [str(path.relative_to(root)) for path in root.rglob("*.proto")]
        assert protos, f"{root} is empty: run deploy/local/install.sh"
        arguments = [f"-I{root}", f"--descriptor_set_out={compiled}", *protos]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)
        files = FileDescriptorSet.FromString(compiled.read_bytes()).file
        self.messages = dict(by_name(message for file in files for message in file.message_type))
        self.enums: dict[str, EnumDescriptorProto] = {each.name: each for file in files for each in file.enum_type}
        for name, message in self.messages.items():
            self.enums |= {f"{name}.{each.name}": each for each in message.enum_type}


def by_name(messages: Iterable[DescriptorProto], prefix: str = "") -> Iterator[tuple[str, DescriptorProto]]:
    for message in messages:
        yield prefix + message.name, message
        yield from by_name(message.nested_type, f"{prefix}{message.name}.")


def ours() -> Iterator[tuple[str, DescriptorProto]]:
    for descriptor in (pb.DESCRIPTOR, policy_pb2.DESCRIPTOR):
        file = FileDescriptorProto()
        descriptor.CopyToProto(file)
        yield from by_name(file.message_type)


@pytest.mark.services
@pytest.mark.parametrize("major", [3, 4])
def test_every_field_is_written_as_the_official_one(major: int, tmp_path: Path) -> None:
    official = Official(major, tmp_path)
    left_out = OURS if major == 4 else OURS | ONLY_IN_4
    messages = [(name, each) for name, each in ours() if name not in left_out]
    assert len(messages) > 60
    for name, message in messages:
        fields = {field.number: field for field in official.messages[RENAMED.get(name, name)].field}
        for field in message.field:
            if f"{name}.{field.name}" in left_out:
                continue
            there, here = fields[field.number], RENAMED.get(f"{name}.{field.name}", field.name)
            assert there.name.lower().replace("_", "") == here.replace("_", ""), f"{name}.{here}"
            assert there.label == field.label, f"{name}.{here}"
            assert (there.type in BYTES) is (field.type in BYTES), f"{name}.{here}"


@pytest.mark.services
@pytest.mark.parametrize("dialect", DIALECTS, ids=("3", "4"))
def test_values_of_enums_have_the_official_numbers(dialect: Dialect, tmp_path: Path) -> None:
    enums = Official(MAJORS[dialect], tmp_path).enums

    def numbers(name: str) -> dict[str, int]:
        """By value, without the prefix that it has in GoBGP 4."""
        prefix = name.rpartition(".")[2].removeprefix("Table").removeprefix("Session").upper() + "_"
        return {value.name.rpartition(prefix)[2]: value.number for value in enums[name].value}

    for ours, theirs in ((PathTable, "TableType"), (Lookup, "TableLookupPrefix.Type"), (Watch, WATCHED)):
        assert {each.name: dialect.first + each for each in ours}.items() <= numbers(theirs).items()
    # These are the same in both.
    assert {each.name: each for each in PeerEvent}.items() <= numbers("WatchEventResponse.PeerEvent.Type").items()
    assert numbers("PeerState.SessionState")["ESTABLISHED"] == pb.PeerState.ESTABLISHED
    assert numbers("AsSegment.Type")["AS_SEQUENCE"] == AS_SEQUENCE
    modes = numbers("AddPathCapabilityTuple.Mode")
    assert (modes["SEND"], modes["RECEIVE"], modes["BOTH"]) == (SENDS, RECEIVES, SENDS | RECEIVES)
