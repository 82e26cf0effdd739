"""BMP records as gobgpd 3.10 and FRR 8.4 send them through pmbmpd 1.7.7 (captured in tests/data/bmp)."""

import json
from pathlib import Path

import pytest

from app.feeds.bmp import BmpRecord, decode
from app.feeds.bmp_sessions import WAITING_S
from app.feeds.rejected import Rejected
from app.feeds.rib_feed import RibFeed
from app.te.routing.rib import Rib
from tests.pops import demo_pop

DATA = Path(__file__).parents[2] / "data" / "bmp"


def captured(name: str, **changes: object) -> BmpRecord:
    raw = json.loads((DATA / f"{name}.json").read_text()) | changes
    record = decode(json.dumps(raw).encode())
    assert isinstance(record, BmpRecord), record
    return record


def feed_of(*names: str) -> RibFeed:
    feed = RibFeed(demo_pop(), Rib())
    for name in names:
        feed.apply(captured(name))
    return feed


def test_both_routers_share_an_address_and_are_told_apart_by_session() -> None:
    feed = feed_of("frr_init", "gobgpd_init")
    assert feed.tracker.router_of(captured("frr_update")) == "r2"
    assert feed.tracker.router_of(captured("gobgpd_update")) == "r1"


def test_frr_puts_its_own_as_in_front_and_leaves_local_pref_out() -> None:
    feed = feed_of("frr_init", "frr_peer_up", "frr_update", "frr_update_ibgp")
    paths = {path.peer: path for path in feed.rib.paths("r2", "20.0.0.0/24").values()}
    assert paths["127.0.0.34"].as_path == (64604, 65000)
    assert paths["127.0.0.34"].local_pref is None
    assert paths["127.0.0.34"].ebgp
    assert paths["127.0.0.11"].as_path == (64601, 65000)
    assert not paths["127.0.0.11"].ebgp


def test_gobgpd_sends_both() -> None:
    feed = feed_of("gobgpd_init", "gobgpd_peer_up", "gobgpd_update")
    (path,) = feed.rib.paths("r1", "20.0.0.0/24").values()
    assert (path.as_path, path.local_pref, path.next_hop) == ((64601, 65000), 300, "198.51.100.1")


@pytest.mark.parametrize(("kind", "router"), [("gobgpd", "r1"), ("frr", "r2")])
def test_an_override_comes_back_with_marker_and_epoch_and_goes_by_withdraw(kind: str, router: str) -> None:
    feed = feed_of(f"{kind}_init", f"{kind}_override")
    (path,) = feed.rib.paths(router, "20.0.1.0/24").values()
    assert "64512:911" in path.communities
    assert path.large_communities == ("64512:7:41210",)
    assert path.local_pref == 1000
    assert not path.ebgp
    assert feed.apply(captured(f"{kind}_withdraw")) == [(router, ["20.0.1.0/24"])]
    assert not feed.rib.paths(router, "20.0.1.0/24")


@pytest.mark.parametrize(("kind", "router", "peer"), [("gobgpd", "r1", "127.0.0.31"), ("frr", "r2", "127.0.0.34")])
def test_peer_down_takes_every_path_of_the_peer(kind: str, router: str, peer: str) -> None:
    feed = feed_of(f"{kind}_init", f"{kind}_peer_up", f"{kind}_update")
    assert feed.rib.peer_asn(router, peer) is not None
    assert feed.apply(captured(f"{kind}_peer_down")) == [(router, ["20.0.0.0/24"])]
    assert feed.rib.peer_asn(router, peer) is None


def test_a_session_that_never_said_who_it_is_is_ignored_and_counted() -> None:
    feed = feed_of("frr_update")
    assert feed.sessions.ignored == {}, "it may come yet"
    assert feed.expire(WAITING_S + 1) == []
    assert feed.sessions.ignored == {"unknown-router": 1}
    feed.apply(captured("frr_update"))
    assert feed.sessions.ignored == {"unknown-router": 2}
    assert feed.sessions.alarms["bmp-unnamed"].keys() == {"127.0.0.1"}


def test_pre_policy_and_other_ribs_are_not_routes() -> None:
    feed = feed_of("gobgpd_init")
    assert feed.apply(captured("gobgpd_update", is_post=0)) == []
    assert feed.apply(captured("gobgpd_update", safi=128)) == []


@pytest.mark.parametrize(
    "broken", [b"", b"{", b"7", b'{"event_type": 3}', b"[" * 100_000, b'{"event_type":"log","bmp_router_port":"x"}']
)
def test_what_does_not_parse_is_bad(broken: bytes) -> None:
    assert isinstance(decode(broken), Rejected)


@pytest.mark.parametrize(
    "changes",
    [
        {"ip_prefix": "20.0.0.1/"},
        {"ip_prefix": "20.0.0.0/+24"},
        {"ip_prefix": "20.0.0.0"},
        {"ip_prefix": "20.0.0.0/255.255.255.0"},
    ],
)
def test_a_route_with_nonsense_in_it_is_bad(changes: dict[str, str]) -> None:
    raw = json.loads((DATA / "gobgpd_update.json").read_text()) | changes
    assert isinstance(decode(json.dumps(raw).encode()), Rejected)
