"""A BMP session that breaks and comes back: what is not refreshed goes, what is stays without a gap."""

from app.feeds.rib_feed import RibFeed, Touched
from app.feeds.stale_paths import DUMP_WITHIN_S, FIRST_WITHIN_S
from tests.app.feeds.test_bmp import captured, feed_of

UP = ("gobgpd_init", "gobgpd_peer_up", "gobgpd_update")
PREFIX, PEER = "20.0.0.0/24", "127.0.0.31"
AGAIN, LATER = 100.0, 100.0 + FIRST_WITHIN_S + 1


def reconnected() -> RibFeed:
    feed = feed_of(*UP)
    feed.expire(0.0)
    feed.apply(captured("gobgpd_init", bmp_router_port=60000), AGAIN)
    return feed


def again(feed: RibFeed, name: str) -> None:
    feed.apply(captured(name, bmp_router_port=60000), AGAIN)


def expired(feed: RibFeed, at_s: float) -> list[Touched]:
    """What goes at this time, while the new session is still heard: its initiation message is information only."""
    feed.apply(captured("gobgpd_init", bmp_router_port=60000, seq=10**6), at_s)
    return feed.expire(at_s)


def test_what_is_refreshed_never_went() -> None:
    feed = reconnected()
    again(feed, "gobgpd_peer_up")
    again(feed, "gobgpd_update")
    assert feed.expire(LATER) == []
    assert feed.rib.paths("r1", PREFIX)
    assert feed.rib.peer_asn("r1", PEER) == 64601


def test_paths_stay_until_the_dump_had_its_time() -> None:
    feed = reconnected()
    assert feed.expire(AGAIN + 1) == []
    assert feed.rib.paths("r1", PREFIX)


def test_a_path_that_is_not_refreshed_is_gone() -> None:
    feed = reconnected()
    again(feed, "gobgpd_peer_up")
    assert expired(feed, LATER) == [("r1", [PREFIX])]
    assert not feed.rib.paths("r1", PREFIX)
    assert feed.rib.peer_asn("r1", PEER) == 64601


def test_a_peer_that_is_not_reported_up_again_is_down() -> None:
    feed = reconnected()
    assert feed.expire(LATER) == [], "its new session may have died amid the dump"
    assert expired(feed, LATER + 1) == [("r1", [PREFIX])]
    assert feed.rib.peer_asn("r1", PEER) is None
    assert feed.sessions.peers["r1"] == {}
    assert feed.expire(LATER) == []


def test_the_other_router_is_not_stale() -> None:
    feed = feed_of(*UP, "frr_init", "frr_peer_up", "frr_update")
    feed.apply(captured("gobgpd_init", bmp_router_port=60000), AGAIN)
    feed.expire(LATER)
    assert feed.rib.paths("r2", PREFIX)


def test_a_peer_told_up_twice_in_one_session_keeps_its_paths() -> None:
    feed = feed_of(*UP)
    feed.apply(captured("gobgpd_peer_up"), AGAIN)
    assert feed.expire(LATER) == []
    assert feed.rib.paths("r1", PREFIX)


def test_a_long_dump_is_no_loss_while_it_goes_on() -> None:
    feed = feed_of(*UP)
    prefixes = [f"20.0.{third}.0/24" for third in range(1, 5)]
    for prefix in prefixes:
        feed.apply(captured("gobgpd_update", ip_prefix=prefix))
    feed.apply(captured("gobgpd_init", bmp_router_port=60000), AGAIN)
    again(feed, "gobgpd_peer_up")
    for step, prefix in enumerate(prefixes, 1):
        feed.apply(captured("gobgpd_update", ip_prefix=prefix, bmp_router_port=60000), AGAIN + 8 * step)
        assert not any(lost for _, lost in feed.expire(AGAIN + 8 * step))
    assert expired(feed, AGAIN + 8 * len(prefixes) + DUMP_WITHIN_S + 1) == [("r1", [PREFIX])]
