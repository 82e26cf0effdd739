"""What rows are made by is written before them."""

from tests.app.stream.test_exact import Stream, reader


async def test_what_rows_rely_on_is_in_the_changelog_before_them() -> None:
    log: list[str] = []

    def write_premises() -> bool:
        log.append("premises")
        return log.count("premises") == 1

    await reader(log, write_premises=write_premises).run(Stream(log, [[0]]))
    assert log == [
        *("apply 0", "premises", "changelog"),
        *("rows", "changelog", "publish", "progress", "changelog", "ack 0"),
    ]
