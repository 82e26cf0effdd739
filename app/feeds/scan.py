"""Lines of flow records into columns, by C code (app/native), in a fraction of the time that objects of them take.

It takes lines as pmacct prints them. What it leaves is for a JSON library, and so is everything where it was not built.
"""

import numpy as np

from app import native
from app.feeds.attribution import Source
from app.feeds.columns import Flows, flows_of
from app.te.prefixes import Addresses

COLUMNS, SOURCES_MAX, SOURCE_FIELDS = 7, 1 << 13, 5  # as in the C code
RECORD_BYTES_MIN = 128  # the names of its fields alone are longer
LEFT_MAX = 4096  # lines: where so many are unusual, nothing is gained


def scan(text: bytes) -> tuple[Flows, list[bytes]]:
    """The flows of usual lines, and the other lines that are not empty, or all of the text."""
    capacity = len(text) // RECORD_BYTES_MIN + 1
    columns = np.empty((COLUMNS, capacity), dtype=np.int64)
    sources = np.empty((SOURCES_MAX, SOURCE_FIELDS), dtype=np.int64)
    left, counts = np.empty((LEFT_MAX, 2), dtype=np.int64), np.zeros(3, dtype=np.int64)
    where = [array.ctypes.data for array in (columns, sources, left, counts)]
    c = native.library
    if c is None or c.scan(text, len(text), where[0], capacity, where[1], where[2], LEFT_MAX, where[3]):
        return flows_of(()), [text]
    flows, known, lines = counts.tolist()
    source, at_s, versions, high, low, samples, sizes_bytes = columns[:, :flows]
    return (
        Flows(
            [Source(text[at : at + size].decode(), *rest) for at, size, *rest in sources[:known].tolist()],
            source,
            at_s,
            Addresses(versions, high.view(np.uint64), low.view(np.uint64)),
            samples,
            sizes_bytes,
        ),
        [text[begin:end] for begin, end in left[:lines].tolist()],
    )
