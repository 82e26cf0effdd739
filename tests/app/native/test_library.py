"""The C code is there; what it does is tested where it is used."""

from app import native


def test_it_was_compiled() -> None:
    assert native.library is not None, "without a C compiler the worker reads several times as slowly"
