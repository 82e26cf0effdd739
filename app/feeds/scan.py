"""Lines of flow records into columns, by C code (app/native), in a fraction of the time that objects of them take.

It takes lines as pmacct prints them. What it leaves is for a JSON library, and so is everything where it was not built.
"""

from collections.abc import Sequence

import numpy as np

from app import native
from app.feeds.columns import FlowColumns, FlowSource, flows_of
from app.te.routing.lpm import Addresses

COLUMNS, SLOTS, SOURCES_MAX = 7, 1 << 14, 1 << 13  # as in the C code, and so is the next
SOURCE = np.dtype([("exporter", "S64"), *((name, np.int64) for name in ("iface_in", "iface_out", "sampling_rate"))])
RECORD_BYTES_MIN = 128  # the names of its fields alone are longer
LEFT_MAX = 4096  # lines of a text: where so many are unusual, nothing is gained


def scan(texts: Sequence[bytes]) -> tuple[FlowColumns, list[bytes]]:
    """The flows of usual lines, and the other lines that are not empty, or texts as a whole."""
    c = native.library
    if c is None:
        return flows_of(()), list(texts)
    capacity = sum(map(len, texts)) // RECORD_BYTES_MIN + 1
    columns = np.empty((COLUMNS, capacity), dtype=np.int64)
    sources, slots = np.empty(SOURCES_MAX, dtype=SOURCE), np.zeros(SLOTS, dtype=np.int16)
    cuts, counts = np.empty((LEFT_MAX, 2), dtype=np.int64), np.zeros(3, dtype=np.int64)
    at = [array.ctypes.data for array in (columns, sources, slots, cuts, counts)]
    left: list[bytes] = []
    for text in texts:
        if c.scan(text, len(text), at[0], capacity, *at[1:4], LEFT_MAX, at[4]):
            left.append(text)
        elif lines := int(counts[2]):
            left += [text[begin:end] for begin, end in cuts[:lines].tolist()]
    source, at_s, versions, high, low, samples, sizes_bytes = columns[:, : counts[0]]
    found = [FlowSource(exporter.decode(), *rest) for exporter, *rest in sources[: counts[1]].tolist()]
    addresses = Addresses(versions, high.view(np.uint64), low.view(np.uint64))
    return FlowColumns(found, source, at_s, addresses, samples, sizes_bytes), left
