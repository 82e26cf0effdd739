"""A published record is final: whatever is killed when, the same ids are published, each with one content."""

import random

import pytest

from tests.agents.lives import Kill, recorded, said

CASES, PART = 60, 20


async def test_without_a_kill_each_window_is_published_once() -> None:
    published, _ = await said(recorded(), [], 0)
    topics = {topic for topic, _ in published}
    assert topics == {"link-utilization", "prefix-traffic", "sources"}
    assert len({id_ for topic, id_ in published if topic == "sources"}) == 3
    assert all(len(values) == 1 for values in published.values())


@pytest.mark.parametrize("part", range(CASES // PART))
async def test_kills_change_nothing_of_what_is_published(part: int) -> None:
    await check(range(part * PART, (part + 1) * PART))


@pytest.mark.parametrize("table", ["link_windows", "congestion", "interfaces"])
async def test_a_lost_tail_of_a_changelog_changes_nothing_of_what_is_published(table: str) -> None:
    log = recorded()
    expected, steps = await said(log, [], 0)
    for seed in range(PART // 2):
        rng = random.Random(seed)
        kill = Kill(rng.randrange(steps), rng.random() < 0.5, {table: rng.random() ** 2})
        published, _ = await said(log, [kill], seed)
        assert published == expected, f"seed {seed}: {kill}"


async def check(seeds: range) -> None:
    """Kills at random steps, with and without the disk, and fetches of random sizes."""
    log = recorded()
    expected, steps = await said(log, [], 0)
    for seed in seeds:
        rng = random.Random(seed)
        kills = [Kill(rng.randrange(steps), rng.random() < 0.5) for _ in range(rng.randint(1, 3))]
        published, _ = await said(log, kills, seed)
        assert published == expected, f"seed {seed}: {kills}"
