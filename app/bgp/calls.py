"""The calls of GoBGP's API, for the clients with and without an event loop: requests, limits and errors."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from google.protobuf.message import Message

from app.bgp.dialect import Dialect, Lookup, PathTable, Watch
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.wire import FAMILIES
from app.config.endpoints import UNIX
from app.errors import SpeakerError

BATCH = 500  # paths in a message; GoBGP takes the lock of its table once per message
MESSAGE_MAX_BYTES: Final = 256 << 20  # a table is one message of 450 bytes a route
REASON_MAX_BYTES: Final = 128  # what routers that know only RFC 8203 can read
UNKNOWN_CALL: Final = "UNIMPLEMENTED"  # status of a call that another version or program does not know

ANSWERS: Final[Mapping[str, type[Message]]] = {
    "GetBgp": pb.GetBgpResponse,
    "GetTable": pb.GetTableResponse,
    "ListPeer": pb.ListPeerResponse,
    "ListPath": pb.ListPathResponse,
    "WatchEvent": pb.WatchEventResponse,
    "AddPathStream": pb.AddPathStreamResponse,
    "ResetPeer": pb.ResetPeerResponse,
}


class Deadline(NamedTuple):
    """How long a call may take: `base_s`, and `per_1000_s` more for every 1,000 paths that it is about."""

    base_s: float = 2.0
    per_1000_s: float = 1.0

    def of(self, paths: int = 0) -> float:
        """Return the deadline of a call about this number of paths, in seconds."""
        return self.base_s + self.per_1000_s * paths / 1000


DEADLINE: Final = Deadline()


def serialize(message: Message) -> bytes:
    """Return a request's bytes."""
    return message.SerializeToString()


def method(dialect: Dialect, name: str) -> tuple[str, Callable[[Message], bytes], Callable[[bytes], Message]]:
    """Return the path of a call, and how its requests and answers are written."""
    return f"{dialect.service}/{name}", serialize, ANSWERS[name].FromString


def batches(dialect: Dialect, paths: Sequence[pb.Path]) -> Iterator[pb.AddPathStreamRequest]:
    """Yield AddPathStream requests of at most BATCH paths each, in the order of `paths`."""
    table = dialect.first + PathTable.GLOBAL
    for start in range(0, len(paths), BATCH):
        yield pb.AddPathStreamRequest(table_type=table, paths=paths[start : start + BATCH])


def size_requests(dialect: Dialect) -> list[pb.GetTableRequest]:
    """Return the requests whose answers say how many unicast paths there are."""
    return [pb.GetTableRequest(table_type=dialect.first + PathTable.GLOBAL, family=family) for family in FAMILIES]


def best_request(dialect: Dialect) -> pb.WatchEventRequest:
    """Return the request for the best paths, in one message, and then for their changes.

    Listing them would be a message for each prefix: 10,000 took 0.6 to 0.9 s of CPU, and take 0.06 s so.
    """
    best = pb.WatchEventRequest.Table.Filter(type=dialect.first + Watch.BEST, init=True)
    return pb.WatchEventRequest(table=pb.WatchEventRequest.Table(filters=[best]))


def received_request(dialect: Dialect) -> pb.WatchEventRequest:
    """Return the request for the states of all sessions, then their changes and those of the paths received."""
    received = pb.WatchEventRequest.Table.Filter(type=dialect.first + Watch.ADJIN)
    return pb.WatchEventRequest(peer=pb.WatchEventRequest.Peer(), table=pb.WatchEventRequest.Table(filters=[received]))


def table_request(dialect: Dialect, family: pb.Family) -> pb.ListPathRequest:
    """Return the request for every path of a family, chosen or not."""
    return pb.ListPathRequest(table_type=dialect.first + PathTable.GLOBAL, family=family)


def reset_request(reason: str) -> pb.ResetPeerRequest:
    """Return the request to end every session; the routers log the reason (RFC 9003)."""
    return pb.ResetPeerRequest(communication=reason.encode()[:REASON_MAX_BYTES].decode(errors="ignore"))


def received_paths_request(
    dialect: Dialect, neighbour: str, family: pb.Family, prefixes: Iterable[str]
) -> pb.ListPathRequest:
    """Return the request for the paths of exactly these prefixes that a neighbour has sent, accepted or not."""
    return pb.ListPathRequest(
        table_type=dialect.first + PathTable.ADJ_IN,
        name=neighbour,
        family=family,
        prefixes=[pb.TableLookupPrefix(prefix=prefix, type=dialect.first + Lookup.EXACT) for prefix in prefixes],
    )


def failed(target: str, call: str, status: str, details: str | None) -> SpeakerError:
    """Return the SpeakerError of a call that failed with this gRPC status: what is wrong, and what to do about it."""
    details = details or "no details"
    cause = details.rpartition(": ")[2].rstrip("]")  # gRPC wraps it in a line of its own state
    reason = {
        "UNAVAILABLE": f"no connection ({cause}); is gobgpd running with --api-hosts at this address?{_trust(target)}",
        "DEADLINE_EXCEEDED": "no answer in time; gobgpd hangs or is overloaded: restart it if this lasts",
        UNKNOWN_CALL: "unknown call; another program or version listens here: run gobgpd 3 or 4",
    }.get(status, f"{status.lower()}: {details}; see gobgpd's log")
    return SpeakerError(f"{target}: {call} failed: {reason}")


def _trust(target: str) -> str:
    if target.startswith(UNIX):
        return ""
    return " If so, do we present certificates to each other that both trust, and is its one for this name?"
