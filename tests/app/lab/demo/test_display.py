"""What the demo says of each moment."""

import pytest

from app.lab.demo.display import now
from app.lab.pop.report import LinkSnapshot, Snapshot


def moment(carried: float, dropped: float, natural: float, overrides: int) -> Snapshot:
    links = (LinkSnapshot("pop/r1/a", carried, dropped, natural), LinkSnapshot("pop/r1/b", 0.3, 0.0, 0.3))
    return Snapshot(at_s=1.0, links=links, overrides=overrides, blackholed_bps=0.0, loops=0)


@pytest.mark.parametrize(
    ("snapshot", "said"),
    [
        (moment(0.7, 0.0, 0.7, 0), "calm"),
        (moment(1.0, 0.25, 1.25, 0), "r1/a is full and drops traffic worth 25% of its capacity"),
        (moment(0.95, 0.0, 0.95, 0), "plain BGP would put 95% on r1/a; no override yet"),
        (moment(0.84, 0.0, 1.25, 27), "plain BGP would put 125% on r1/a; with 27 overrides it is at 84%"),
        (moment(0.5, 0.0, 0.7, 17), "no link needs relief; 17 overrides still to take back"),
        (moment(0.5, 0.0, 0.7, 1), "no link needs relief; 1 override still to take back"),
    ],
)
def test_every_moment_has_its_sentence(snapshot: Snapshot, said: str) -> None:
    assert now(snapshot) == said
