"""What people should know of a PoP's flows: traffic without a place, senders that are not believed, clocks, markers."""

from collections.abc import Iterator
from itertools import groupby

from app.clock import utc
from app.config.forms import SELF_IFINDEX
from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from app.contract import topics
from app.contract.schemas import Notice
from app.feeds.attribution import BY_RATE, CLOCK_SKEW_MAX_S, router_of
from app.te.traffic.unplaced import Unplaced, UnplacedSender
from app.te.traffic.windows import UNMARKED_MAX_S, Progress
from app.te.traffic.writers import AWAY_MAX_S, BEHIND_MAX_S, WRITERS_MAX, Writer

NOTICES_MAX = 20  # of a kind, the largest first
MISSED_S = 600.0  # of the stream's time: so long a gap is shown
CLOCKS_DIFFER_S = 5.0  # from here on a tenth of the bytes of the slower collector would be late
SHARE_MIN = {
    "special-interface": 0.01,
    "late": 0.001,
    "unroutable": 0.01,
}  # of the bytes: a little of these is in order


def flow_notices(pop: Pop, windows: WindowSettings, progress: Progress) -> list[Notice]:
    """The notices of the newest closed window, at most NOTICES_MAX of each kind."""
    found = (_unplaced(pop, progress.unplaced), _clocks(windows, progress), _markers(pop, progress), _missing(progress))
    return [notice for notices in found for notice in notices]


def _missing(progress: Progress) -> Iterator[Notice]:
    missing = progress.missing
    if missing is not None and progress.watermark_s < missing.until_s + MISSED_S:
        began, ended = (utc(at_s).isoformat(timespec="seconds") for at_s in (missing.from_s, missing.until_s))
        what, remedy = (
            (f"{missing.records} messages", "let the topic keep records for longer than nobody may read")
            if missing.records
            else ("nobody knows how many messages", "somebody deleted the topic, or its brokers lost the end of it")
        )
        yield Notice(
            "missing-records",
            "flows",
            f"{what} from between {began} and {ended} were removed from Kafka before they were read, and windows of"
            f" that time say feed gap: {remedy}",
        )


def _unplaced(pop: Pop, unplaced: Unplaced) -> Iterator[Notice]:
    total_bytes = unplaced.counted_bytes + sum(
        sender.size_bytes for sender in unplaced.last.values() if sender.reason not in BY_RATE
    )
    senders = sorted(unplaced.last.values(), key=lambda each: (each.reason, -each.size_bytes, each.agent, each.number))
    for reason, each in groupby(senders, key=lambda sender: sender.reason):
        for sender in list(each)[:NOTICES_MAX]:
            share = sender.size_bytes / total_bytes if total_bytes else 0.0
            if share >= SHARE_MIN.get(reason, 0.0):
                router = router_of(pop, sender.agent)
                where = f"{router} ({sender.agent})" if router else sender.agent
                yield Notice(reason, router or sender.agent, _text(pop, sender, where, f"{share:.2%}"))


def _text(pop: Pop, sender: UnplacedSender, where: str, share: str) -> str:
    number, records = sender.number, f"{sender.records} records of {where}"
    match sender.reason:
        case "unknown-router":
            return (
                f"{share} of the bytes come from sFlow agent {where}, which is no router of this PoP: set agent_address"
                " of its router, or take its source out of sfacctd_allow_file"
            )
        case "unknown-interface":
            return (
                f"{share} of the bytes leave {where} by ifIndex {number}, which no link has: add it to the ifindexes of"
                " its link, or to internal_ifindexes or core if it leads inside"
            )
        case "unknown-ingress":
            return _ingress_text(pop, sender, where, share)
        case "special-interface":
            how = "at the router itself" if number == SELF_IFINDEX else "with ifIndex 0 or in several interfaces"
            return (
                f"{share} of the bytes of {where} end {how} (output {number:#x}), or were discarded, so they are on no"
                " link: see which ports it samples, and why it discards"
            )
        case "unroutable":
            return (
                f"{share} of the bytes leave {where} for destinations that no router has a route for: do all report"
                " their post-policy Adj-RIB-In over BMP?"
            )
        case "unknown-sampling-rate":
            return f"{records} have no sampling rate, so nobody knows what they stand for: configure it on the router"
        case "unlisted-sampling-rate":
            return (
                f"{records} have sampling rate {number}, which its sampling_rates does not list: add it if the router"
                " is configured so; else somebody sends in its name"
            )
        case "unusual-sampling-rate":
            return (
                f"{records} have sampling rate {number}, far above what is usual on their link, and are not counted:"
                " list the rates of the router in sampling_rates; if this is none of them, somebody sends in its name"
            )
        case "impossible-weight":
            return (
                f"{records} with sampling rate {number} would stand for more bytes than their link can carry, and are"
                " not counted: check the rate, and capacity_bps of the link"
            )
        case "clock-skew":
            return (
                f"{records} are from more than {CLOCK_SKEW_MAX_S:g} s in the future and are not counted: set the clock"
                " of its collector"
            )
        case "clock-ahead":
            return f"{records} are ahead of Kafka's time: set the clock of its collector, and those of the brokers"
        case _:
            return (
                f"{share} of the bytes, from {where}, came after their window was closed: set the clock of its"
                " collector by NTP, or raise windows.grace_s"
            )


def _ingress_text(pop: Pop, sender: UnplacedSender, where: str, share: str) -> str:
    begin = f"{share} of the bytes enter {where} "
    if sender.number in (0, SELF_IFINDEX):
        return f"{begin}by no known interface (ifIndex {sender.number}): it has to give the input of outgoing samples"
    link = pop.link_by_interface.get((router_of(pop, sender.agent) or "", sender.number))
    if link is not None:
        return f"{begin}by link {link} and leave by another: they are not from inside, and are not moved"
    return (
        f"{begin}by ifIndex {sender.number}, which is not known: add it to internal_ifindexes if it leads inside, or"
        " to core"
    )


def _clocks(windows: WindowSettings, progress: Progress) -> Iterator[Notice]:
    known = sorted(progress.writers.known, key=lambda writer: writer.offset_s)
    if not known:
        return
    usual = known[(len(known) - 1) // 2]
    for writer in known[:NOTICES_MAX]:
        ahead_s = writer.offset_s - usual.offset_s
        if abs(ahead_s) > max(CLOCKS_DIFFER_S, windows.refresh_s) and _both_speak(writer, usual):
            how = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'}"
            text = f"the clock of collector {writer.name} is {how} that of {usual.name}: set both by NTP"
            if writer.name == usual.name:
                text += "; give each collector of this topic its own plugin name, as in plugins: kafka[flows_a]"
            yield Notice("collector-clock", writer.name, text)
    now_s, refresh_s = progress.writers.now_s, windows.refresh_s
    for writer in known[:NOTICES_MAX]:
        behind_s, complete_s = progress.watermark_s - writer.began_s, writer.complete_s(now_s, refresh_s)
        if writer.is_silent(now_s, refresh_s) and abs(progress.watermark_s - complete_s) <= refresh_s:
            text = (
                f"collector {writer.name} has been silent for {now_s - writer.heard_s:.0f} s, and all others are ahead"
                f" of its clock, so windows wait for it, {AWAY_MAX_S:g} s or for as long as they are ahead: start it"
                " again, or set the clocks by NTP"
            )
            yield Notice("collector-silent", writer.name, text)
        elif behind_s > BEHIND_MAX_S:
            text = f"the clock of collector {writer.name} is {behind_s:.0f} s behind what is closed, so"
            text += " its bytes are late: set the clock of its host by NTP"
            yield Notice("collector-behind", writer.name, text)


def _both_speak(one: Writer, other: Writer) -> bool:
    """Whether both have been heard since both are known: else one may be what the other was called before."""
    return one.last_mark > other.first_mark and other.last_mark > one.first_mark


def _markers(pop: Pop, progress: Progress) -> Iterator[Notice]:
    topic = topics.FLOWS.for_pop(pop.name)
    if progress.unmarked:
        text = (
            f"no purge marker came for {UNMARKED_MAX_S:g} s, so windows close that much later and nothing new is moved:"
            " set kafka_markers: true in sfacctd.conf"
        )
        yield Notice("no-purge-markers", topic, text)
    if len(progress.writers.known) == WRITERS_MAX:
        text = (
            f"{WRITERS_MAX} collectors write to {topic}, and others are passed over: give each a plugin name that stays"
            " the same over its restarts, as in plugins: kafka[flows_a]"
        )
        yield Notice("too-many-collectors", topic, text)
