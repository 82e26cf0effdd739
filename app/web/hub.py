"""Updates to any number of pages. Each has a bounded queue, so that a slow one keeps nobody waiting."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

WAITING_MAX = 30
PAGES_MAX = 100


class Page:
    """One open page. When it is WAITING_MAX updates behind, the oldest go and it is given a whole snapshot instead."""

    def __init__(self, snapshot: Callable[[], bytes]) -> None:
        self._snapshot = snapshot
        self._waiting: deque[bytes] = deque(maxlen=WAITING_MAX)
        self._some = asyncio.Event()
        self._behind = True  # it begins with a snapshot
        self._closed = False
        self._some.set()

    def put(self, update: bytes) -> None:
        """Never waits."""
        self._behind |= len(self._waiting) == WAITING_MAX
        self._waiting.append(update)
        self._some.set()

    def close(self) -> None:
        """End its stream."""
        self._closed = True
        self._some.set()

    async def updates(self) -> AsyncIterator[bytes]:
        """What to send, until closed."""
        while True:
            await self._some.wait()
            if self._closed:
                return
            if self._behind:
                self._behind = False
                self._waiting.clear()
                yield self._snapshot()
            elif self._waiting:
                yield self._waiting.popleft()
            else:
                self._some.clear()


class Hub:
    """The open pages of every PoP."""

    def __init__(self) -> None:
        self._pages: dict[str, set[Page]] = {}

    @property
    def open_pages(self) -> int:
        return sum(len(pages) for pages in self._pages.values())

    @property
    def full(self) -> bool:
        return self.open_pages >= PAGES_MAX

    @contextmanager
    def page(self, pop: str, snapshot: Callable[[], bytes]) -> Iterator[Page]:
        """A page of this PoP, as long as the block lasts."""
        page, pages = Page(snapshot), self._pages.setdefault(pop, set())
        pages.add(page)
        try:
            yield page
        finally:
            pages.discard(page)

    def tell(self, pop: str, update: bytes) -> None:
        """Give one update to all pages of a PoP."""
        for page in self._pages.get(pop, ()):
            page.put(update)

    def close(self) -> None:
        """End every stream: the process ends."""
        for pages in self._pages.values():
            for page in pages:
                page.close()
