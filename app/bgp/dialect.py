"""What differs between the APIs of GoBGP 3 and GoBGP 4; the rest is the same on the wire. Pure."""

from enum import IntEnum
from typing import Final

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from app.bgp.proto import gobgp_pb2 as pb

WRAPPERS: Final[tuple[type[Message], ...]] = (pb.Nlri, pb.Attribute, pb.Capability)
_TYPE_URL: Final = "type.googleapis.com/apipb."
# By name of a message: the wrapper that it has in GoBGP 4, and the field there.
_WRAPPED_IN: Final = {
    field.message_type.name: (wrapper, field.name)
    for wrapper in WRAPPERS
    for field in wrapper.DESCRIPTOR.fields
    if field.message_type is not None
}
_KINDS: Final[dict[str, type[Message]]] = {f"{_TYPE_URL}{name}": getattr(pb, name) for name in _WRAPPED_IN}


class PathTable(IntEnum):
    """Tables of paths, counted from a dialect's `first`: what is chosen from, and what a neighbour has sent."""

    GLOBAL = 0
    ADJ_IN = 2


class Watch(IntEnum):
    """What a watcher of paths is told, counted in the same way: changes of the best paths, or of those received."""

    BEST = 0
    ADJIN = 1


class Lookup(IntEnum):
    """Which prefixes a listing is about, counted in the same way."""

    EXACT = 0


class PeerEvent(IntEnum):
    """What a watcher of peers is told first about each of them, at the end of that, and at every change; in both."""

    INIT = 1
    END_OF_INIT = 2
    STATE = 3


class Gobgp3:
    """GoBGP 3: what may be of several kinds is an Any. `first` is the number of the first value of most enums."""

    service = "/apipb.GobgpApi"
    first = 0

    def pack(self, message: Message) -> bytes:
        """Return an NLRI or attribute as a path holds it."""
        return Any(type_url=_TYPE_URL + message.DESCRIPTOR.name, value=message.SerializeToString()).SerializeToString()

    def unpack(self, wrapper: type[Message], packed: bytes) -> Message | None:
        """Return what a path or peer holds, by its kind (`wrapper`); None if we do not know it."""
        content = Any.FromString(packed)
        kind = _KINDS.get(content.type_url)
        return kind.FromString(content.value) if kind else None


class Gobgp4:
    """GoBGP 4: what may be of several kinds is a oneof, and most enums have an "unspecified" in front."""

    service = "/api.GoBgpService"
    first = 1

    def pack(self, message: Message) -> bytes:
        """Return an NLRI or attribute as a path holds it."""
        wrapper, name = _WRAPPED_IN[message.DESCRIPTOR.name]
        return wrapper(**{name: message}).SerializeToString()

    def unpack(self, wrapper: type[Message], packed: bytes) -> Message | None:
        """Return what a path or peer holds, by its kind (`wrapper`); None if we do not know it."""
        set_fields = wrapper.FromString(packed).ListFields()
        return set_fields[0][1] if set_fields else None


Dialect = Gobgp3 | Gobgp4
DIALECTS: Final[tuple[Dialect, ...]] = (Gobgp3(), Gobgp4())
