"""The figures in words: each has its place, its unit, and nothing is said of what there was none of."""

import pytest

from app.lab.demo.bounds import FigureValue
from app.lab.demo.labels import GROUPS, groups, shown, verdict
from app.lab.demo.score import score
from tests.app.lab.demo.test_bounds import BAD_INPUT
from tests.app.lab.demo.test_score import GOOD


def test_every_figure_has_its_words() -> None:
    worded = [name for words in GROUPS.values() for name in words]
    assert sorted([*worded, "ok", "failed", "not_judged"]) == sorted(score(GOOD))


def test_what_was_not_done_on_purpose_is_not_spoken_of() -> None:
    assert [title for title, _ in groups(score(GOOD)) if "on purpose" in title] == []
    tables = dict(groups(score(BAD_INPUT)))
    assert [title for title in tables if "on purpose" in title] == ["bad input, on purpose"]
    assert ("traffic that the bad input represents", "100 B") in tables["bad input, on purpose"]


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (831_170_936_832, "B", "831.2 GB"),
        (12, "B", "12 B"),
        (1.2549, "%", "125.49%"),
        (0.5, "s", "0.50 s"),
        (19334, "", "19,334"),
        (True, "", "yes"),
        ({"r1": 1000, "r2": 9}, "", "r1 1,000, r2 9"),
        ({"unroutable": 2000}, "B", "unroutable 2.0 kB"),
        (["a", "b"], "", "a, b"),
        ("127.0.0.32", "", "127.0.0.32"),
        (None, "s", ""),
        ({}, "B", ""),
        ([], "", ""),
        (0, "", "0"),
    ],
)
def test_one_figure(value: FigureValue, unit: str, words: str) -> None:
    assert shown(value, unit) == words


def test_the_verdict_names_what_failed() -> None:
    assert verdict({"failed": [], "not_judged": []}) == ["ok: everything that this scenario checks holds"]
    assert verdict({"failed": ["no leaks", "drained"], "not_judged": []})[1:] == ["  - no leaks", "  - drained"]
