"""What a collector sends in another order is the same, and the product has the same routes if initiation comes last."""

import json
import random

import pytest

from app.feeds.bmp import BmpRecord, decode
from app.feeds.rib_feed import RibFeed
from app.te.routing.rib import Rib
from tests.faults.pmbmpd import COMES, FURTHEST, Sent, arrivals, collector
from tests.faults.traffic import PREFIXES
from tests.pops import demo_pop

POP = demo_pop()


def number_of(sent: Sent) -> int:
    return int(str(sent.message["seq"]))


@pytest.mark.parametrize("is_last", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_records_come_in_another_order_but_not_from_far_away(seed: int, is_last: bool) -> None:
    sessions = collector(POP, 2, 1e9)
    in_order = [number_of(each) for sent in sessions for each in sent]
    arrived = list(arrivals(sessions, random.Random(seed), is_last))
    assert sorted(map(number_of, arrived)) == in_order
    others = [(place, each) for place, each in enumerate(arrived) if each.message["bmp_msg_type"] != "init"]
    assert others[0][0] == 0
    assert 1 < max(abs(place - in_order.index(number_of(each))) for place, each in others) <= FURTHEST + 1


@pytest.mark.parametrize("seed", range(10))
def test_routes_are_those_of_the_order_in_which_they_were_sent(seed: int) -> None:
    feed = RibFeed(POP, Rib())
    for at_s, message in arrivals(collector(POP, 2, 1e9), random.Random(seed), is_last=True):
        record = decode(json.dumps(message).encode())
        assert isinstance(record, BmpRecord)
        feed.apply(record, at_s)
    assert [set(feed.rib.prefixes(router)) for router in POP.routers] == [{*PREFIXES, COMES}] * 2
