"""What `autopilot check` asks the gobgpd beside each router: is it there, and is its session with the router up."""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from app.bgp.calls import Deadline
from app.bgp.client import GobgpClient
from app.bgp.dialect import Dialect
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.tls import tls_to
from app.bgp.wire import RouteReader, families_with_all_paths, has_sent_all
from app.config.gobgp_settings import Gobgp
from app.config.inventory import Pop, Router
from app.contract.schemas import InjectorStatus
from app.errors import SpeakerError

AT_ONCE = 50  # gobgpds
ANSWER = Deadline(base_s=3.0)
OK = "ok"
NOT_READABLE = "not readable"


class InjectorAnswer(NamedTuple):
    """What a gobgpd says: the problem with it or its session (None: all is well), and the routes in each direction.

    `held` routes of ours are in it, `advertised` go to the router, and `received` came from the router. `lacks` is what
    keeps it from seeing that the router lost a path, None if nothing does.
    """

    problem: str | None
    held: int = 0
    advertised: int = 0
    received: int = 0
    lacks: str | None = None


async def ask_all(pops: Mapping[str, Pop], gobgp: Gobgp) -> dict[tuple[str, str], InjectorAnswer]:
    """The answer of the gobgpd beside every router, by PoP and router."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(pop: Pop, router: Router) -> InjectorAnswer:
        async with limit:
            return await ask(pop, router, gobgp)

    asked = [(pop, router) for pop in pops.values() for router in pop.router]
    answers = await asyncio.gather(*(one(pop, router) for pop, router in asked))
    return {(pop.name, router.name): answer for (pop, router), answer in zip(asked, answers, strict=True)}


async def ask(pop: Pop, router: Router, gobgp: Gobgp) -> InjectorAnswer:
    """Ask the gobgpd beside one router."""
    client = GobgpClient(router.injector.grpc, ANSWER, tls_to(router.injector.grpc, gobgp))
    try:
        config, peers = await client.global_config(), await client.peers()
        held = len(await client.routes(RouteReader(pop.marker_community)))
        dialect = await client.dialect()
    except SpeakerError as error:
        return InjectorAnswer(str(error))
    finally:
        await client.close()
    if config.asn != pop.asn:
        return InjectorAnswer(f"the gobgpd at {router.injector.grpc} has AS {config.asn}, the inventory says {pop.asn}")
    peer = next((peer for peer in peers if peer.conf.neighbor_address == router.ibgp_address), None)
    if peer is None:
        known = ", ".join(peer.conf.neighbor_address for peer in peers) or "none"
        missing = f"has no session with {router.ibgp_address} (ibgp_address); it has: {known}"
        return InjectorAnswer(f"the gobgpd at {router.injector.grpc} {missing}")
    families = [family.state for family in peer.afi_safis]
    advertised, received = sum(one.advertised for one in families), sum(one.received for one in families)
    return InjectorAnswer(_session_problem(router, peer), held, advertised, received, _lacks(dialect, peer))


def _lacks(dialect: Dialect, peer: pb.Peer) -> str | None:
    seen = families_with_all_paths(dialect, peer)
    if any(family.state.received and family.state.family not in seen for family in peer.afi_safis):
        return "ADD-PATH: it sends its best paths only"
    if not all(has_sent_all(peer, family) for family in seen):
        return "End-of-RIB: it still sends, or offers no graceful restart, without which none comes"
    return None


def _session_problem(router: Router, peer: pb.Peer) -> str | None:
    if peer.state.session_state == pb.PeerState.ESTABLISHED:
        return None
    state = pb.PeerState.SessionState.Name(peer.state.session_state).lower()
    return (
        f"the BGP session between {router.injector.address} and the router at {router.ibgp_address} is {state};"
        " is the router configured for it, and does it answer?"
    )


def injector_state(router: Router, answer: InjectorAnswer, status: InjectorStatus | None) -> str:
    """`ok`, or what is wrong. `status` is what a living actuator reports of it, None if there is none.

    A socket that is not on this host says nothing; then the actuator's word counts.
    """
    if answer.problem is None:
        return OK
    socket = router.injector.grpc.removeprefix("unix://")
    elsewhere = socket != router.injector.grpc and not Path(socket).exists()
    return OK if elsewhere and status is not None and status.reachable else answer.problem


def policy(
    answer: InjectorAnswer, status: InjectorStatus | None, problems: Collection[str] | None = None
) -> dict[str, str]:
    """What the router imports from its injector and exports to it and to others, as far as anything shows it.

    A router shows our routes over BMP after its import policy; nobody but its neighbours sees what it sends to them.
    `problems` is what its own configuration lacks, None if it was not read.
    """
    neighbours = NOT_READABLE if problems is None else "see its problems" if problems else "own prefixes only"
    if answer.problem is not None:
        return {"import": NOT_READABLE, "export": NOT_READABLE if problems is None else f"to neighbours {neighbours}"}
    if not answer.held:
        accepts = f"{NOT_READABLE} while no override stands there"
    elif answer.advertised < answer.held:
        accepts = (
            f"only {answer.advertised} of our {answer.held} routes go to the router; are both families configured?"
        )
    elif status is None:
        accepts = f"{NOT_READABLE} while no actuator watches BMP"
    elif status.shown >= answer.held:
        accepts = f"takes our routes: all {answer.held} are shown over BMP"
    else:
        accepts = f"only {status.shown} of our {answer.held} routes are shown over BMP"
    sends = f"{answer.received} paths" if answer.received else "nothing"
    return {"import": accepts, "export": f"{sends} to its injector; to neighbours {neighbours}"}


def policy_problem(answer: InjectorAnswer) -> str | None:
    """What is wrong with the router's policies, as far as the gobgpd can tell; None if nothing is."""
    if answer.problem is None and not answer.received:
        return (
            "the router sends nothing to its injector, which so cannot see that a path is lost: let it send every path"
            " of its eBGP neighbours there, with ADD-PATH (`autopilot render routers`)"
        )
    if answer.problem is None and answer.lacks is not None:
        return (
            f"the injector cannot see that the router lost a path, for want of {answer.lacks} (`autopilot render"
            " routers`)"
        )
    return None
