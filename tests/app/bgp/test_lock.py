"""One writer per gobgpd."""

import os
from pathlib import Path

import pytest

from app.bgp.gobgp import GobgpSpeaker
from app.bgp.lock import WriterLock, lock_for
from app.errors import SpeakerError


def test_a_second_writer_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    first = WriterLock(tmp_path / "gobgpd.sock")
    with pytest.raises(SpeakerError, match=f"process {os.getpid()} already writes to this gobgpd"):
        WriterLock(tmp_path / "gobgpd.sock")
    first.release()
    WriterLock(tmp_path / "gobgpd.sock").release()


async def test_a_closed_speaker_lets_the_next_one_write(tmp_path: Path) -> None:
    target = f"unix://{tmp_path}/gobgpd.sock"
    first = GobgpSpeaker(target, "64512:911")
    with pytest.raises(SpeakerError, match="already writes to this gobgpd"):
        GobgpSpeaker(target, "64512:911")
    await first.close()
    await GobgpSpeaker(target, "64512:911").close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpeakerError, match="this user must be able to write to its folder"):
        WriterLock(tmp_path / "missing" / "gobgpd.sock")


def test_a_tcp_target_has_nothing_to_lock() -> None:
    assert lock_for("127.0.0.1:50051") is None
