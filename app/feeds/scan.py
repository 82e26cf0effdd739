"""Scans lines of flow records into columns by C code (app/native), in a fraction of the time that objects would take.

It accepts lines as pmacct prints them. It leaves every other line to a JSON library; all of them if it was not built.
"""

from collections.abc import Sequence

import numpy as np

from app import native
from app.feeds.columns import FlowColumns, FlowSource, flows_of
from app.te.routing.lpm import Addresses

COLUMNS, SLOTS, SOURCES_MAX = 7, 1 << 14, 1 << 13  # as in scan.c, and so is SOURCE
SOURCE = np.dtype([("exporter", "S64"), *((name, np.int64) for name in ("iface_in", "iface_out", "sampling_rate"))])
RECORD_BYTES_MIN = 128  # the names of its fields alone are longer
LEFT_MAX = 4096  # lines of a text: with more unusual ones, scanning gains nothing


def scan(texts: Sequence[bytes]) -> tuple[FlowColumns, list[bytes]]:
    """Scan texts of many lines: the flows of the usual lines, and the lines (or whole texts) left to a JSON library.

    Empty lines are dropped.
    """
    c = native.library
    if c is None:
        return flows_of(()), list(texts)
    capacity = sum(map(len, texts)) // RECORD_BYTES_MIN + 1
    columns = np.empty((COLUMNS, capacity), dtype=np.int64)
    sources, slots = np.empty(SOURCES_MAX, dtype=SOURCE), np.zeros(SLOTS, dtype=np.int16)
    cuts = np.empty((LEFT_MAX, 2), dtype=np.int64)
    pointers = [array.ctypes.data for array in (sources, slots, cuts)]
    job = native.Job(columns.ctypes.data, capacity, *pointers, LEFT_MAX)
    left: list[bytes] = []
    for text in texts:
        if c.scan(text, len(text), job):
            left.append(text)
        elif job.left_count:
            left += [text[begin:end] for begin, end in cuts[: job.left_count].tolist()]
    source, at_s, versions, high, low, samples, sizes_bytes = columns[:, : job.flows]
    known = [FlowSource(exporter.decode(), *rest) for exporter, *rest in sources[: job.source_count].tolist()]
    addresses = Addresses(versions, high.view(np.uint64), low.view(np.uint64))
    return FlowColumns(known, source, at_s, addresses, samples, sizes_bytes), left
