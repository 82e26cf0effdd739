"""A thousand lives of a worker with kills at random steps: what is published is always the same."""

from tests.agents.test_final import check


async def test_a_thousand_lives_publish_the_same() -> None:
    await check(range(1000))
