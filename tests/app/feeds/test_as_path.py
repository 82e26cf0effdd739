"""AS paths in the spellings of collectors, and the length that best-path selection compares."""

import pytest

from app.feeds.as_path import AsPath, read_as_path


@pytest.mark.parametrize(
    ("text", "numbers", "hops"),
    [
        ("64601 65000", (64601, 65000), None),
        ("", (), None),
        ("64601  4200000001", (64601, 4200000001), None),
        ("64601 {65000,65001}", (64601, 65000, 65001), 2),
        ("64601 {65000 65001}", (64601, 65000, 65001), 2),
        ("64601 {65000} {65001,65002}", (64601, 65000, 65001, 65002), 3),
        ("{64601,64602}", (64601, 64602), 1),
        ("(65501 65502) 64601 65001", (64601, 65001), 2),
        ("[65501,65502] 64601 65001", (64601, 65001), 2),
        ("(65501) [65502 65503] 64601 {65001,65002}", (64601, 65001, 65002), 2),
        ("(65501)", (), 0),
    ],
)
def test_a_set_counts_one_and_a_confederation_none(text: str, numbers: tuple[int, ...], hops: int | None) -> None:
    """RFC 4271, section 9.1.2.2, and RFC 5065, section 5.3. A path of sequences alone has no `hops` of its own."""
    assert read_as_path(text) == AsPath(numbers, hops, is_internal=text[:1] in ("(", "["))


def test_an_array_is_the_same_as_its_text() -> None:
    assert read_as_path(["64601", 65000, "{65001,65002}"]) == read_as_path("64601 65000 {65001,65002}")


@pytest.mark.parametrize("array", [[[64601]], ["64601", [65001, 65002]], [None]])
def test_an_array_in_an_array_is_no_set(array: list[object]) -> None:
    with pytest.raises(ValueError, match="no AS number"):
        read_as_path(array)


@pytest.mark.parametrize(
    "text",
    ["1 two", "-5", "4294967296", "9" * 5000, "{1", "1}", "(1 {2} 3)", "[1", "1.5", "\u0661", "['1']", "1 (2]"],
)
def test_what_is_no_as_path_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"no AS number|never closed"):
        read_as_path(text)
