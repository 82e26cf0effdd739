"""What a neighbour's ear wrote down, as ExaBGP 4.2 says it."""

import json
from pathlib import Path

from app.lab.daemons import exabgp
from app.lab.daemons.machine import Site
from app.lab.daemons.ports import StackPorts

PEER = "127.0.0.31"
PORTS = StackPorts(kafka=1, controller=2, sflow=3, bmp=4, bgp=5)


def update(body: dict[str, object]) -> str:
    return json.dumps({"exabgp": "4.0.1", "type": "update", "neighbor": {"message": {"update": body}}}) + "\n"


def site(tmp_path: Path, text: str) -> Site:
    (tmp_path / f"received-{PEER}.jsonl").write_text(text)
    return Site(tmp_path, PORTS, None)


def test_announcements_come_with_their_communities(tmp_path: Path) -> None:
    routes = {"ipv4 unicast": {"192.0.2.11": [{"nlri": "20.0.0.0/24"}, {"nlri": "20.0.1.0/24"}]}}
    text = update({"attribute": {"community": [[64512, 911], [65535, 65281]]}, "announce": routes})
    text += update({"attribute": {}, "announce": {"ipv6 unicast": {"2001:db8::1": [{"nlri": "2001:db8:1::/48"}]}}})
    assert exabgp.received(site(tmp_path, text), PEER) == [
        "20.0.0.0/24 64512:911 65535:65281",
        "20.0.1.0/24 64512:911 65535:65281",
        "2001:db8:1::/48",
    ]


def test_withdraws_and_ends_of_rib_are_no_announcements(tmp_path: Path) -> None:
    text = update({"withdraw": {"ipv4 unicast": [{"nlri": "20.0.0.0/24"}]}})
    text += json.dumps({"type": "update", "neighbor": {"message": {"eor": {"afi": "ipv4", "safi": "unicast"}}}}) + "\n"
    assert exabgp.received(site(tmp_path, text), PEER) == []


def test_a_line_in_the_writing_waits(tmp_path: Path) -> None:
    whole = update({"announce": {"ipv4 unicast": {"192.0.2.11": [{"nlri": "20.0.0.0/24"}]}}})
    assert exabgp.received(site(tmp_path, whole + whole[:40]), PEER) == ["20.0.0.0/24"]


def test_an_ear_that_heard_nothing_has_no_file(tmp_path: Path) -> None:
    assert exabgp.received(Site(tmp_path, PORTS, None), PEER) == []


async def test_hearing_means_every_own_prefix(tmp_path: Path) -> None:
    text = update({"announce": {"ipv4 unicast": {"192.0.2.11": [{"nlri": "198.18.0.0/16"}]}}})
    place = site(tmp_path, text)
    assert await exabgp.hears(place, PEER, ("198.18.0.0/16",))() is None
    assert await exabgp.hears(place, PEER, ("198.18.0.0/16", "198.19.0.0/16"))() == "has not received 198.19.0.0/16"
