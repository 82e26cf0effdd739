"""Which rows are old enough to go: by window, and by what the commit has passed."""

from tables.link_windows import Stored, key_of

OLD, NEW = (key_of("rhv1000", start_s, "rhv1000/r1/a") for start_s in (10, 20))
OTHER = key_of("lon1", 10, "lon1/r1/a")


def test_only_old_rows_that_the_commit_has_passed_are_taken_once() -> None:
    stored = Stored()
    for key, applied in ((OLD, 7), (NEW, 3), (OTHER, 1)):
        stored.put(key, applied)
    assert stored.take("rhv1000", before_s=20, below=7) == []
    assert stored.take("rhv1000", before_s=20, below=8) == [OLD]
    assert stored.take("rhv1000", before_s=20, below=8) == []
    assert OLD not in stored
    assert NEW in stored
    assert OTHER in stored
    stored.put(NEW, 9)
    assert stored.take("rhv1000", before_s=21, below=9) == []
