"""What a demo says first: what will happen, when, and how long it takes."""

import pytest

from app.lab.demo.timeline import timeline
from app.lab.pop.scenario import load_scenario
from tests.app.lab.pop.world import inventory


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "surge",
            [
                "240 s of traffic, about 4.8 minutes",
                "at 30 s demand on r1/et-0/0/1 rises to 125%",
                "at 90 s",
                "taken back",
            ],
        ),
        ("link-failure", ["at 60 s neighbour 127.0.0.31 is killed"]),
        ("leak", ["r1 has no export policy", "until 45 s"]),
        ("loop", ["into r1's injector", "a loop"]),
        ("bad-input", ["bad input of known size"]),
    ],
)
def test_it_names_what_the_scenario_asks_for(name: str, said: list[str]) -> None:
    text = " ".join(" ".join(timeline(name, load_scenario(name, inventory()))).split())
    assert [part for part in said if part not in text] == []


def test_only_what_is_taken_back_is_promised() -> None:
    assert "taken back" not in "\n".join(timeline("leak", load_scenario("leak", inventory())))
