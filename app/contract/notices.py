"""Every kind of notice in one table: what it means, and what to do. docs/reference/notices.md is generated from it."""

from typing import NamedTuple


class Meaning(NamedTuple):
    """What a kind of notice means, and what to do about it."""

    means: str
    do: str


LOOK_AT_RATES = "If the router is configured so, list the rate in `sampling_rates`; else somebody sends in its name."
STATISTICS = "Let it send BMP statistics reports every 10 s."

KINDS = {
    # parts of a PoP
    "flow-collector-silent": Meaning(
        "sfacctd has written nothing for 30 s, or its topic does not exist: no window closes",
        "Start sfacctd, and see whether it reaches the broker.",
    ),
    "bmp-collector-silent": Meaning(
        "pmbmpd has written nothing for 30 s, and every router that sends BMP statistics has been silent for too long:"
        " routes may be out of date",
        "Start pmbmpd, and see whether it reaches the broker.",
    ),
    "clock-wrong": Meaning(
        "the clock of the host of telemetry or actuator is more than 5 s from the broker's; it goes by the broker's",
        "Let NTP (chrony) set the clock of that host.",
    ),
    "config-differs": Meaning(
        "telemetry and actuator run with different configurations",
        "Put the same files on both hosts, then `autopilot reload` there, or restart them.",
    ),
    "telemetry-silent": Meaning(
        "no window was published for three windows, or none was ever seen, although sfacctd writes",
        "Start telemetry; its log says why it ended.",
    ),
    "actuator-silent": Meaning(
        "no sign of life came from the actuator for 20 s. In mode `observe` none is needed",
        "Start the actuator: until then nothing is announced, renewed or withdrawn.",
    ),
    "broker-silent": Meaning(
        "telemetry could explain something, but the broker did not say what else is wrong", "See whether Kafka runs."
    ),
    "modes-differ": Meaning(
        "only one of telemetry and actuator runs in mode `auto`, so nothing is announced",
        "Set `mode` for both, and restart them.",
    ),
    "halt-file": Meaning("the halt file exists, so no override is announced", "Remove it to go on."),
    "records-refused": Meaning(
        "the actuator refused decisions or orders in the last hour, because of their signatures: somebody else writes"
        " to that topic, or a key is missing. A refused halt is none: the halt file always works",
        "See `autopilot check` for the keys that are trusted, and the ACLs for who may write there.",
    ),
    "injector-silent": Meaning("in mode `auto` a gobgpd does not answer the actuator", "Start that gobgpd."),
    # flows
    "missing-records": Meaning(
        "Kafka removed flows before telemetry had read them, by retention or with a topic that somebody deleted; the"
        " windows of that time say `feed: gap`",
        "Let the topic keep records for longer than telemetry may be away, and delete none that is unread.",
    ),
    "flows-silent": Meaning(
        "a router was never heard by sFlow, or not for 300 s", "Let it send sFlow, and compare `agent_address`."
    ),
    "unknown-router": Meaning("samples come from an agent that is no router of the PoP", "Set `agent_address`."),
    "unknown-interface": Meaning(
        "bytes leave by an ifIndex that no link has", "Add it to the `ifindexes` of its link."
    ),
    "unknown-ingress": Meaning(
        "bytes enter by an interface that is not known to lead inside",
        "Add its ifIndex to `internal_ifindexes` or `core`; the router has to name the input of outgoing samples.",
    ),
    "special-interface": Meaning(
        "1 % of a router's bytes or more end at the router itself, or were discarded", "Look at what it samples."
    ),
    "unroutable": Meaning(
        "traffic leaves for destinations that no router has a route for",
        "Let all routers report their post-policy Adj-RIB-In over BMP.",
    ),
    "unknown-sampling-rate": Meaning("samples have no sampling rate, and are not counted", "Configure it there."),
    "unlisted-sampling-rate": Meaning("samples have a rate that `sampling_rates` does not list", LOOK_AT_RATES),
    "unusual-sampling-rate": Meaning("samples have a rate far above what is usual on their link", LOOK_AT_RATES),
    "impossible-weight": Meaning(
        "samples stand for more bytes than their link can carry, and are not counted",
        "Check the sampling rate, and `capacity_bps` of the link.",
    ),
    "clock-skew": Meaning("samples from the future are not counted", "Set the clock of their collector."),
    "clock-ahead": Meaning("samples are ahead of Kafka's time", "Set the clocks of the collector and the brokers."),
    "late": Meaning(
        "bytes came after their window was closed", "Set the collector's clock, or raise `windows.grace_s`."
    ),
    "collector-clock": Meaning("the clocks of two collectors differ", "Set both by NTP."),
    "collector-silent": Meaning(
        "a collector whose clock is behind the others' is silent, and windows wait for it for a while",
        "See whether it is up, and set the clocks of the collectors.",
    ),
    "collector-behind": Meaning(
        "the clock of a collector is behind what is closed: its bytes are late", "Set it by NTP."
    ),
    "no-purge-markers": Meaning(
        "no purge marker comes, so windows close later and nothing new is moved", "Set `kafka_markers: true`."
    ),
    "too-many-collectors": Meaning(
        "more than 64 collectors write to a topic, and others are passed over",
        "Give each a plugin name that stays the same over its restarts.",
    ),
    # counters
    "counters-silent": Meaning(
        "a router was never heard by counters, or not for 60 s; of a link, no counters come any more and its load is"
        " estimated from flows",
        "Let the router send interface counters every 10 s.",
    ),
    "interface-silent": Meaning(
        "a router sends counters, but never those of a link's interface",
        "Compare `ifindexes`, `members` and `interfaces` with the router.",
    ),
    "interfaces-renumbered": Meaning(
        "the interfaces of a link fell silent when unknown ones appeared; nothing is moved from or to the link",
        "If they have new numbers, correct `ifindexes`, `members` or `interfaces`, and restart telemetry and actuator.",
    ),
    "member-silent": Meaning(
        "one interface of a link sends no counters any more; its load and capacity are left out",
        "See whether it was removed from the LAG; if so, take it out of `members` or `ifindexes`.",
    ),
    "status-contradicts": Meaning(
        "an interface says that it is down, but its octets move: it counts as up", "Nothing, or update the router."
    ),
    "counters-refused": Meaning(
        "readings do not follow from the others and were refused",
        "Find out whether two agents have one address, or somebody forges counters.",
    ),
    "counters-cached": Meaning(
        "a router refreshes its counters less often than it sends them",
        "Raise its counter interval to that of the refresh.",
    ),
    "counters-unusable": Meaning(
        "the octets of an interface are not supported or wrap within a poll; the load is estimated from flows",
        "Let the router send 64-bit counters.",
    ),
    "capacity-differs": Meaning(
        "the ifSpeed of the live ports is below `capacity_bps`, and counts; or an ifSpeed cannot be true",
        "Correct the one that is wrong.",
    ),
    "capacity-below-ports": Meaning(
        "`capacity_bps` is below the ifSpeed of the live ports, and counts",
        "Nothing if the port is sub-rate or shaped; else correct `capacity_bps`.",
    ),
    "capacity-unknown": Meaning(
        'capacity_bps is "auto", and no port reports an ifSpeed: nothing is moved from or to the link',
        "Give a number.",
    ),
    # BMP
    "bmp-silent": Meaning(
        "a router is not heard over BMP any more: no move leads to it, and moves that leave by it end",
        "See whether its BMP session and the collector are up.",
    ),
    "bmp-never-heard": Meaning(
        "a router was never heard over BMP", "Connect it to the collector, and compare `bmp_sysname`, `bmp_address`."
    ),
    "bmp-refreshing": Meaning(
        "the BMP session of a router began again, and not all of its paths came yet: no new move leads to it",
        "Wait a minute; if it stays, see whether its BMP session keeps starting again, or its BGP sessions flap.",
    ),
    "bmp-incomplete": Meaning(
        "a part of the BMP session of a router was not read: its beginning is older than the topic or than the router's"
        " name in the inventory, or Kafka removed records first. No new move leads to it",
        "Reset its BMP session at the router, so that it sends all its routes again. Let the topic keep its records"
        " for longer.",
    ),
    "bmp-no-statistics": Meaning("a router sends no BMP statistics, so it is doubted when it is quiet", STATISTICS),
    "bmp-no-routes": Meaning(
        "a router reports routes over BMP, but none of its post-policy Adj-RIB-In: nothing of it can be steered",
        "Let it report the post-policy Adj-RIB-In.",
    ),
    "bmp-clock-ahead": Meaning(
        "the clock of a host that runs pmbmpd is more than 20 s ahead of the flow collectors",
        "Set all of them by NTP.",
    ),
    "bmp-clocks-differ": Meaning("the clocks of two BMP collectors differ by more than 20 s", "Set both by NTP."),
    "bmp-name-taken": Meaning(
        "two BMP sessions say that they are one router, or a session from an unknown address says it",
        "Set `bmp_address`, or keep the stranger away from the collector.",
    ),
    "bmp-renamed": Meaning("a router has another sysName than the inventory", "Correct `bmp_sysname`."),
    "bmp-stranger": Meaning(
        "a BMP session is of no router of the inventory; its records are ignored", "Add the router, or keep it away."
    ),
    "bmp-unnamed": Meaning(
        "a BMP session never said who it is; its records are ignored",
        "Let it connect again, or set `bmp_address`.",
    ),
    "wrong-as": Meaning(
        "a neighbour has another AS number than the inventory says; nothing is moved to it",
        "Correct the inventory, or find out who is there.",
    ),
}
