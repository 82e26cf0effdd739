"""A telemetry worker's read-only state, asked over HTTP."""

from typing import TypeVar

import aiohttp
import msgspec

from app.errors import DaemonError

T = TypeVar("T")


class StateClient:
    """Asks a worker's `/state/NAME`, which holds one document a PoP."""

    def __init__(self, port: int, pop: str) -> None:
        self._url = f"http://127.0.0.1:{port}/state/"
        self._pop = pop

    async def get(self, name: str, kind: type[T]) -> T:
        """The PoP's document; DaemonError while the worker does not answer."""
        try:
            timeout = aiohttp.ClientTimeout(total=2)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._url + name) as answer:
                by_pop = msgspec.json.decode(await answer.read(), type=dict[str, msgspec.Raw])
                return msgspec.json.decode(by_pop[self._pop], type=kind)
        except (aiohttp.ClientError, TimeoutError, KeyError, msgspec.MsgspecError) as error:
            raise DaemonError(f"telemetry does not tell its {name}: {error!r}") from error
