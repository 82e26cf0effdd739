"""Whether a decision of the budget's size can be published: measured on decisions as they are encoded."""

import msgspec
import pytest

from app.cli.decision_size import budget_problem, decision_bytes, override_bytes, topic_problem
from app.config.inventory import Pop
from app.contract.schemas import Override
from app.contract.topics import DECISION_BYTES_MAX
from app.te.routing.path import AS_PATH_MAX
from tests.app.actuation.pop import POP, override
from tests.pops import demo_pop

TOPIC = "decisions-rhv1000"


def budgeted(max_overrides: int) -> Pop:
    pop = demo_pop()
    return msgspec.structs.replace(pop, budgets=msgspec.structs.replace(pop.budgets, max_overrides=max_overrides))


def longest(pop: Pop) -> Override:
    """A real override of this PoP with everything as long as it can be."""
    one = override("2001:db8:ffff::/48")
    path = msgspec.structs.replace(one.source_path, as_path=(4_294_967_294,) * AS_PATH_MAX, med=4_294_967_294)
    return msgspec.structs.replace(one, source_path=path, inject_on=tuple(pop.routers))


def test_no_override_of_the_pop_is_larger_than_the_one_that_is_measured() -> None:
    size = len(msgspec.json.encode(longest(POP)))
    assert 0.7 * override_bytes(POP) < size <= override_bytes(POP)


def test_a_budget_whose_decision_is_not_published_is_refused_with_one_that_is() -> None:
    assert budget_problem(budgeted(200)) is None
    pop = budgeted(20_000)
    said = budget_problem(pop)
    assert said is not None
    assert said.startswith("rhv1000: budgets.max_overrides 20,000 allows a decision of ")
    most = int(said.rpartition(" ")[2].replace(",", ""))
    assert decision_bytes(budgeted(most)) <= DECISION_BYTES_MAX < decision_bytes(budgeted(most + 1))


@pytest.mark.parametrize(("max_message_bytes", "is_well"), [(1_048_588, True), (400_000, True), (300_000, False)])
def test_a_topic_that_takes_no_such_record_is_named(max_message_bytes: int, is_well: bool) -> None:
    said = topic_problem(budgeted(200), TOPIC, max_message_bytes)
    if is_well:
        assert said is None
    else:
        assert said is not None
        assert "--topic decisions-rhv1000 --add-config max.message.bytes=12565536" in said
        assert said.startswith("topic decisions-rhv1000: max.message.bytes is 300,000, and a decision of rhv1000 may")
