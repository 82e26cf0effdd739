"""Valid records of every kind that a topic may hold, to make mutants of."""

import json
import random
import types
import typing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from app.clock import utc
from app.contract.schemas import PUBLISHED, Control
from tests.app.feeds.test_flows import RECORD, line
from tests.app.stream.test_fetching import CODECS, COMMIT, batch, marker
from tests.app.web import records

DATA = Path(__file__).parents[1] / "data"
NOW_S = int(float(RECORD["timestamp_arrival"])) + 2  # type: ignore[arg-type]
POP = "rhv1000"


def flows() -> list[bytes]:
    """Flow records as pmacct prints them, alone and many in a message, and purge markers."""
    single = [
        line(ip_dst="20.0.0.9"),
        line(ip_dst="2001:db8::9", iface_out=102),
        line(bytes=0),
        line(iface_in=3, extra="text", n=7),
    ]
    marks = [(DATA / "pmacct" / f"purge_{kind}.json").read_bytes().strip() for kind in ("init", "close")]
    compact = json.dumps(RECORD, separators=(",", ":")).encode()
    return [*single, *marks, compact, b"\n".join([*single, compact, b""])]


def counters() -> list[bytes]:
    return [(DATA / "pmacct" / f"{name}.json").read_bytes() for name in ("counters", "counters_log_init")]


def bmp() -> list[bytes]:
    return [path.read_bytes() for path in sorted((DATA / "bmp").glob("*.json"))]


def batches() -> list[bytes]:
    """Batches of a fetch: all codecs, headers, tombstones, ends of transactions."""
    values = [line(), None, b"", b"\x00\xff", line(bytes=7)]
    return [*(batch(4, *values, codec=codec) for codec in (0, *CODECS)), batch(4, b"a") + marker(5, COMMIT)]


def published() -> dict[str, list[bytes]]:
    """Examples of each record type that we publish, by the name in its schema."""
    end_s = NOW_S - NOW_S % 10
    moved = records.override()
    other = msgspec.structs.replace(moved, prefix="198.51.100.0/24", exit=moved.natural[0] and moved.exit)
    made: list[msgspec.Struct] = [
        records.window(end_s, carried=0.9, natural=1.1),
        records.window(end_s, link=records.ROOMY, carried=0.1),
        records.decision(7, end_s, overrides=(moved, other), congested=(records.congestion(end_s),), epoch=NOW_S - 99),
        records.decision(8, end_s + 10, congested=(records.congestion(end_s, "closed"),), epoch=NOW_S - 99),
        records.actuation(1, end_s, "announced"),
        records.actuation(2, end_s + 1, "confirmed"),
        records.actuation(3, end_s + 2, "withdrawn"),
        *(Control(pop=pop, halt=halt, by="ada", at=utc(NOW_S)) for pop in ("*", POP) for halt in (True, False)),
        *(example(kind) for kind in PUBLISHED),
    ]
    found: dict[str, list[bytes]] = {}
    for record in made:
        schema: str = msgspec.structs.asdict(record)["schema"]
        found.setdefault(schema.partition("/")[0], []).append(msgspec.json.encode(record))
    return found


def example(kind: Any) -> Any:
    """Some value of this type, for types of which nobody wrote an example."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return example(arguments[0])
    if origin is typing.Literal:
        return arguments[0]
    if origin in (typing.Union, types.UnionType):
        return example(arguments[0])
    if origin is tuple:
        return (example(arguments[0]),)
    if origin is dict:
        return {example(arguments[0]): example(arguments[1])}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        types_of = typing.get_type_hints(kind, include_extras=True)
        return kind(**{field.name: example(types_of[field.name]) for field in msgspec.structs.fields(kind)})
    simple = {str: POP, int: 3, float: 0.5, bool: True, bytes: b"raw", datetime: datetime.fromtimestamp(NOW_S, UTC)}
    return simple[kind]


FLOW_S, COUNTERS_S = b"1795246109.", b"1795254272.559271"  # the times in the examples
MOMENT = utc(NOW_S - NOW_S % 10).strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def moved_on(value: bytes, now_s: float, number: int) -> bytes:
    """The record as of `now_s`, with this number: else everything after the first would be late or a repeat."""
    moment = utc(now_s).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
    for old, new in (
        (FLOW_S, b"%d." % now_s),
        (COUNTERS_S, b"%.6f" % now_s),
        (MOMENT, moment),
        (b'"seq":7,', b'"seq":%d,' % number),
        (b'"seq":8,', b'"seq":%d,' % number),
        (b'"id":"a', b'"id":"a%d-' % number),
    ):
        value = value.replace(old, new)
    return value


def rng(*parts: object) -> random.Random:
    """Random numbers that depend on these parts alone."""
    return random.Random("/".join(map(str, parts)))
