"""`autopilot latency`: how long each step from the end of a window to the route took, from the output topics."""

import asyncio
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from app.cli.latency_stages import P99_FROM, Latency, Published, latencies
from app.cli.show import chosen, read_actuation, read_decision
from app.cli.tables import Listing
from app.clock import utc
from app.config.settings import Deployment
from app.config.trusted_keys import trust_of
from app.contract import topics
from app.errors import ConfigError
from app.kafka.read import read_topic
from app.kafka.unreadable import decoded

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NOTHING = "Nothing was decided or announced in that time. Is telemetry running?"


def begin_s(last: str | None, since: str | None, now_s: float) -> float:
    """Return where the time asked for begins, in Unix seconds; ConfigError if `last` or `since` is malformed."""
    if since is not None:
        try:
            at = datetime.fromisoformat(since)
        except ValueError as error:
            raise ConfigError([f"--since {since}: must be a time such as 2026-11-21T07:30:00"]) from error
        return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    parts = re.fullmatch(r"(\d{1,6})([smhd])", "1h" if last is None else last)
    if parts is None:
        raise ConfigError([f"--last {last}: must be a number with its unit, such as 90s, 15m, 1h or 2d"])
    return max(0.0, now_s - int(parts[1]) * UNITS_S[parts[2]])


async def read_latencies(deployment: Deployment, pop: str | None, since_s: float) -> list[Latency]:
    """Return every stage of each PoP asked for that has records since `since_s`, Unix seconds."""
    trust = trust_of(deployment.settings.trust)
    kafka, length_s = deployment.settings.kafka, deployment.settings.windows.length_s
    names = chosen(deployment, pop)
    actuation_records, *decision_records = await asyncio.gather(
        read_topic(kafka, topics.ACTUATIONS.name, since_s=since_s),
        *(read_topic(kafka, topics.DECISIONS.for_pop(name), since_s=since_s) for name in names),
    )
    actuations = [actuation for _, actuation in decoded(actuation_records, read_actuation)]
    rows: list[Latency] = []
    for name, records in zip(names, decision_records, strict=True):
        decisions = decoded(records, read_decision, trust)
        published = (Published(decision, record.timestamp / 1000) for record, decision in decisions)
        rows += latencies(name, published, actuations, length_s)
    return rows


def headline(since_s: float) -> str:
    """Return the lines above the table: since when, and what p99 needs."""
    p99 = f"p99 needs at least {P99_FROM} values; below that, look at the maximum."
    return f"Since {utc(since_s):%Y-%m-%d %H:%M:%S} UTC. {p99}"


def latency_table(rows: Iterable[Latency]) -> Listing:
    """Return a table with one line per PoP and stage, in seconds."""
    table = Listing("pop", "stage", "count", "p50 s", "p99 s", "max s", right=("count", "p50 s", "p99 s", "max s"))
    for row in rows:
        figures = ("-" if value is None else f"{value:.3f}" for value in (row.p50_s, row.p99_s, row.max_s))
        table.add_row(row.pop, row.stage, str(row.count), *figures)
    return table
