"""What people should know of the BMP of a PoP: who was not heard, who else speaks, and who is not whom we expect."""

from collections.abc import Iterator

from app.contract.schemas import Notice
from app.feeds.bmp_clocks import APART_S, clocks_apart
from app.feeds.rib_feed import RibFeed
from app.te.routing.natural import is_wrong_as

NOTICES_MAX = 20  # of one kind
ALARM_SHOWN_S = 600.0
STATISTICS_WITHIN_S = 60.0  # of a session's beginning, and of each other
CONSEQUENCE = "no move leads to it, and moves that leave by it end"
UNREAD = {
    "beginning": "The topic has no beginning (no initiation message) of the BMP session of",
    "gap": "Records were removed from the topic before they were read, in the BMP session of",
    "order": "Records came too far out of order in the BMP session of",
}
ASK_FOR_STATISTICS = "let it send BMP statistics reports every 10 s (15 s where it cannot send them more often)"


def bmp_notices(feed: RibFeed, now_s: float, ahead_s: float = 0.0) -> list[Notice]:
    """The notices of one PoP at Kafka time `now_s`, up to which its topic was read; a bounded number of each kind.

    Its clock is `ahead_s` ahead of that of the flows.
    """
    by_kind: dict[str, list[Notice]] = {}
    for notice in (
        *_not_heard(feed, now_s),
        *_without_statistics(feed, now_s),
        *_without_routes(feed),
        *_wrong_as(feed),
        *_clocks(feed, ahead_s),
        *_alarms(feed, now_s),
    ):
        by_kind.setdefault(notice.kind, []).append(notice)
    return [notice for kind in by_kind.values() for notice in kind[:NOTICES_MAX]]


def sends_statistics(feed: RibFeed, router: str) -> bool:
    """Whether a router sent statistics reports as long as it was heard, so that its silence means something."""
    heard_s, statistics_s = feed.sessions.heard.get(router), feed.sessions.statistics.get(router)
    return heard_s is not None and statistics_s is not None and heard_s - statistics_s <= STATISTICS_WITHIN_S


def _not_heard(feed: RibFeed, now_s: float) -> Iterator[Notice]:
    for router in sorted(feed.doubtful(now_s)):
        heard_s, live = feed.sessions.heard.get(router), feed.tracker.live(router, now_s)
        if heard_s is None:
            text = (
                f"{router} was never heard over BMP, so {CONSEQUENCE}. Let it connect to the collector of this PoP, and"
                " compare bmp_sysname and bmp_address with what it says and where it comes from."
            )
            yield Notice("bmp-never-heard", router, text)
        elif live and all(session.unread for session in live):
            text = (
                f"{UNREAD[live[-1].unread]} {router}, so some of its routes may be missing or out of date, and no new"
                " move leads to it. No router says twice what it has said: reset its BMP session at the router, so that"
                " it sends all of them again."
            )
            yield Notice("bmp-incomplete", router, text)
        elif live:
            text = (
                f"The BMP session of {router} began again, and not all of its paths are refreshed yet; until then no"
                " new move leads to it. If this stays for more than a minute, see whether the session keeps starting"
                " again."
            )
            yield Notice("bmp-refreshing", router, text)
        else:
            yield Notice("bmp-silent", router, _silent(feed, router, now_s - heard_s))


def _silent(feed: RibFeed, router: str, silent_s: float) -> str:
    """What is known of a router that is not heard any more, and what to do."""
    sessions = [session for session in feed.sessions.sessions.values() if session.router == router]
    ended = "; its BMP session has ended" if sessions and all(session.ended for session in sessions) else ""
    text = f"{router} was not heard over BMP for {silent_s:.0f} s{ended}: {CONSEQUENCE}. "
    if sends_statistics(feed, router):
        return (
            text
            + "See whether it is connected to its collector, and whether the collector runs and its clock is right."
        )
    return text + f"It sent no statistics reports, so it may only be quiet: {ASK_FOR_STATISTICS}."


def _without_statistics(feed: RibFeed, now_s: float) -> Iterator[Notice]:
    """Routers that are heard, but will be doubted as soon as no route of theirs changes."""
    for router in feed.pop.routers:
        began_s = min((session.began_s for session in feed.tracker.live(router, now_s)), default=now_s)
        if now_s - began_s > STATISTICS_WITHIN_S and not sends_statistics(feed, router):
            text = f"{router} sends no BMP statistics, so it is doubted whenever it is quiet: {ASK_FOR_STATISTICS}."
            yield Notice("bmp-no-statistics", router, text)


def _without_routes(feed: RibFeed) -> Iterator[Notice]:
    """Routers that are up and report routes, but none of the only RIB that shows what they may use."""
    for router, unused in feed.sessions.unused.items():
        if feed.rib.peers(router) and not feed.rib.count(router):
            reported = ", ".join(f"{count} of the {rib}" for rib, count in sorted(unused.items()))
            text = (
                f"{router} reports no post-policy routes, so nothing of it can be steered ({reported} were read)."
                " Let its BMP monitor the post-policy Adj-RIB-In."
            )
            yield Notice("bmp-no-routes", router, text)


def _wrong_as(feed: RibFeed) -> Iterator[Notice]:
    for link in feed.pop.link:
        for session in link.sessions:
            asn = feed.rib.peer_asn(link.router, session.peer)
            if asn is not None and is_wrong_as(asn, session.asn):
                text = (
                    f"The neighbour {session.peer} of {link.router} on {link.name} is AS {asn}, but the inventory says"
                    f" AS {session.asn}. Nothing is moved to it; correct the inventory, or find out who is there."
                )
                yield Notice("wrong-as", f"{link.router} {session.peer}", text)


def _clocks(feed: RibFeed, ahead_s: float) -> Iterator[Notice]:
    """Silence is counted by each collector's own clock, so wrong ones cost no override, but nobody should have them."""
    if ahead_s > APART_S:
        text = (
            f"The clock of the BMP collectors of this PoP is {ahead_s:.0f} s ahead of that of the flow collectors."
            " Correct whichever is wrong; after a restart a silent router may be believed for that long."
        )
        yield Notice("bmp-clock-ahead", feed.pop.name, text)
    if (apart := clocks_apart(feed.sessions.writers, feed.sessions.at_s)) is not None:
        fast, slow, apart_s = apart
        text = f"The clock of the BMP collector {fast} is {apart_s:.0f} s ahead of that of {slow}; correct one of them."
        yield Notice("bmp-clocks-differ", feed.pop.name, text)


def _alarms(feed: RibFeed, now_s: float) -> Iterator[Notice]:
    for kind, by_place in feed.sessions.alarms.items():
        for where, alarm in by_place.items():
            if now_s - alarm.at_s <= ALARM_SHOWN_S:
                yield Notice(kind, where, alarm.text)
