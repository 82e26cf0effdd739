"""Reads a telemetry worker's read-only state over HTTP."""

from typing import TypeVar

import aiohttp
import msgspec

from app.errors import DaemonError

T = TypeVar("T")
TIMEOUT_S = 10.0


class StateClient:
    """Reads `/state/NAME` of the worker on this port; the answer has one document per PoP."""

    def __init__(self, port: int, pop: str) -> None:
        self._url = f"http://127.0.0.1:{port}/state/"
        self._pop = pop

    async def get(self, name: str, kind: type[T]) -> T:
        """The PoP's document called `name`, decoded as `kind`; DaemonError while the worker does not serve it."""
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._url + name) as answer:
                by_pop = msgspec.json.decode(await answer.read(), type=dict[str, msgspec.Raw])
                return msgspec.json.decode(by_pop[self._pop], type=kind)
        except (aiohttp.ClientError, TimeoutError, KeyError, msgspec.MsgspecError) as error:
            raise DaemonError(f"telemetry does not serve {self._url}{name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"no answer within {TIMEOUT_S:g} s"
        case KeyError():
            return f"the answer has no PoP {error}"
        case msgspec.MsgspecError():
            return f"the answer cannot be decoded: {error}"
        case _:
            return "it cannot be reached"
