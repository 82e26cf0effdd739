"""Whether a whole decision of a PoP fits into one Kafka record: a larger one is not published, and nothing moves."""

import msgspec

from app.config.inventory import Link, Pop
from app.contract.schemas import Exit, NaturalExit, Override, SourcePath
from app.contract.topics import DECISION_BYTES_MAX, ENVELOPE_BYTES
from app.te.routing.path import AS_PATH_MAX

FIXED_BYTES = 64 * 1024  # the rest of a decision: congestion and refusals of each link
BPS = 123_456_789_012.34567
TOPIC_BYTES_DEFAULT = 1_048_588  # max.message.bytes of a topic, where nobody says otherwise


def override_bytes(pop: Pop) -> int:
    """The size of the largest override that this PoP may publish: a long AS path, and a route on every router."""
    link = max(pop.link, key=lambda link: len(pop.link_id(link)))
    session = max((session for link in pop.link for session in link.sessions), key=lambda each: len(each.peer))
    override = Override(
        prefix="2001:db8:ffff::/48",
        exit=Exit(link.router, pop.link_id(link), session.peer, _longest_hop(link), path_id=2**32 - 1),
        inject_on=tuple(router.name for router in pop.router),
        natural=tuple(NaturalExit(router.name, pop.link_id(link), 1 / 3) for router in pop.router),
        source_path=SourcePath((2**32 - 1,) * AS_PATH_MAX, "incomplete", 2**32 - 1),
        bps=BPS,
        reason=f"{pop.link_id(link)} natural 100% of capacity",
    )
    return len(msgspec.json.encode(override)) + len(",")


def decision_bytes(pop: Pop) -> int:
    """The size of the largest decision that the budget of this PoP allows."""
    return FIXED_BYTES + pop.budgets.max_overrides * override_bytes(pop)


def budget_problem(pop: Pop) -> str | None:
    """What is wrong with the budget, if a decision of that size is not published at all."""
    if (size := decision_bytes(pop)) <= DECISION_BYTES_MAX:
        return None
    most = (DECISION_BYTES_MAX - FIXED_BYTES) // override_bytes(pop)
    return (
        f"{pop.name}: budgets.max_overrides {pop.budgets.max_overrides:,} allows a decision of {size:,} bytes"
        f" ({override_bytes(pop):,} an override with {AS_PATH_MAX} AS numbers), and no record above"
        f" {DECISION_BYTES_MAX:,} is published: lower it to {most:,}"
    )


def topic_problem(pop: Pop, topic: str, max_message_bytes: int) -> str | None:
    """What is wrong with the topic's limit, if the broker would refuse a decision that is published."""
    needed = min(decision_bytes(pop), DECISION_BYTES_MAX) + ENVELOPE_BYTES
    if needed <= max_message_bytes:
        return None
    wanted = DECISION_BYTES_MAX + ENVELOPE_BYTES
    most = max(0, (max_message_bytes - ENVELOPE_BYTES - FIXED_BYTES) // override_bytes(pop))
    return (
        f"topic {topic}: max.message.bytes is {max_message_bytes:,}, and a decision of {pop.name} may have {needed:,}"
        f" bytes: use `kafka-configs --alter --topic {topic} --add-config max.message.bytes={wanted}`, or"
        f" lower budgets.max_overrides to {most:,}"
    )


def _longest_hop(link: Link) -> str:
    return max((hop for session in link.sessions for hop in session.next_hops), key=len, default="")
