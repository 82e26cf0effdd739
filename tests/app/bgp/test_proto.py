"""The generated messages are those of the proto, and the numbers are GoBGP's."""

from pathlib import Path

import pytest

from app.bgp.proto import gobgp_pb2 as pb
from tests.app.bgp.generate import GENERATED, ROOT, generate


@pytest.mark.parametrize("name", GENERATED)
def test_regenerating_gives_the_committed_file(name: str, tmp_path: Path) -> None:
    generate(tmp_path)
    assert (tmp_path / name).read_text() == (ROOT / name).read_text(), "run python -m tests.app.bgp.generate"


def test_package_is_the_one_of_gobgp_3() -> None:
    assert pb.DESCRIPTOR.package == "apipb"


def test_a_withdrawal_has_gobgps_field_numbers() -> None:
    path = pb.Path(is_withdraw=True, family=pb.Family(afi=pb.Family.AFI_IP6, safi=pb.Family.SAFI_UNICAST))
    request = pb.AddPathStreamRequest(table_type=pb.GLOBAL, paths=[path])
    # paths=3 { is_withdraw=5: true, family=9 { afi=1: 2, safi=2: 1 } }
    assert request.SerializeToString() == bytes.fromhex("1a08 2801 4a04 0802 1001")
