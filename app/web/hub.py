"""Distributes updates to the open pages. Each page has a bounded queue, so that a slow one delays no other."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

WAITING_MAX = 30
PAGES_MAX = 100


class Page:
    """The updates for one open page.

    If it falls more than WAITING_MAX updates behind, it receives a whole snapshot in place of what it missed.
    """

    def __init__(self, snapshot: Callable[[], bytes]) -> None:
        self._snapshot = snapshot
        self._waiting: deque[bytes] = deque(maxlen=WAITING_MAX)
        self._wake = asyncio.Event()
        self._behind = True  # a page begins with a snapshot
        self._closed = False
        self._wake.set()

    def put(self, update: bytes) -> None:
        """Queue an update; this never waits."""
        self._behind |= len(self._waiting) == WAITING_MAX
        self._waiting.append(update)
        self._wake.set()

    def close(self) -> None:
        """End the stream of this page."""
        self._closed = True
        self._wake.set()

    async def updates(self) -> AsyncIterator[bytes]:
        """Yield what to send to the page, until it is closed."""
        while True:
            await self._wake.wait()
            if self._closed:
                return
            if self._behind:
                self._behind = False
                self._waiting.clear()
                yield self._snapshot()
            elif self._waiting:
                yield self._waiting.popleft()
            else:
                self._wake.clear()


class Hub:
    """The open pages of every PoP, at most PAGES_MAX."""

    def __init__(self) -> None:
        self._pages: dict[str, set[Page]] = {}

    @property
    def open_pages(self) -> int:
        """The number of open pages of all PoPs."""
        return sum(len(pages) for pages in self._pages.values())

    @property
    def full(self) -> bool:
        """Whether no further page may be opened."""
        return self.open_pages >= PAGES_MAX

    @contextmanager
    def page(self, pop: str, snapshot: Callable[[], bytes]) -> Iterator[Page]:
        """Open a page of this PoP for as long as the block lasts."""
        page, pages = Page(snapshot), self._pages.setdefault(pop, set())
        pages.add(page)
        try:
            yield page
        finally:
            pages.discard(page)

    def tell(self, pop: str, update: bytes) -> None:
        """Queue one update for all open pages of a PoP."""
        for page in self._pages.get(pop, ()):
            page.put(update)

    def close(self) -> None:
        """End the streams of all pages, because the process ends."""
        for pages in self._pages.values():
            for page in pages:
                page.close()
