"""The PoP of a simulated run: two routers, their neighbours and injectors, and where packets really leave.

This is the truth that invariants are checked against. BMP reports it to the product, late and sometimes not at all.
"""

import itertools
import random

import msgspec

from app.actuation.ownership import KEY as OWNER
from app.actuation.ownership import standing
from app.bgp.memory import MemorySpeaker
from app.bgp.speaker import InjectedRoute
from app.config.inventory import Budgets, Injector, Link, Pop, Router, Session
from app.contract import topics
from app.simulation.broker import Broker
from app.simulation.loop import World

PREFIXES = tuple(f"20.0.{index}.0/24" for index in range(20))
PEERED = 12  # the first 12 are announced by the peering that congests, the others only by transit
CAPACITY_BPS = 10e9
DELAY_S = (0.05, 0.6)
BUDGETS = Budgets(max_overrides=4, max_moved_share=0.5, max_new_per_cycle=3)
STATS_S = 6.0  # RFC 7854 statistics: the heartbeat of BMP, which also moves the stream's time forward
SILENCE_S = 12.0  # after which a router is doubted
Peer = tuple[str, str]  # (router, peer address)
AnnouncedPath = tuple[str, str, str]  # (router, peer address, prefix)


def _router(number: int) -> Router:
    return Router(
        name=f"r{number}",
        agent_address=f"192.0.2.{number}",
        loopback4=f"192.0.2.1{number}",
        loopback6=f"2001:db8:ffff::1{number}",
        bmp_sysname=f"r{number}",
        injector=Injector(address=f"192.0.2.2{number}", grpc=f"unix:///nowhere/r{number}"),
        ibgp_address=f"192.0.2.3{number}",
        internal_ifindexes=(1,),
        core={f"r{3 - number}": (2,)},
        igp_cost={f"r{3 - number}": 10},
        bmp_silence_s=SILENCE_S,
    )


def _link(name: str, router: str, number: int, local_pref: int, capacity_bps: float) -> Link:
    session = Session(peer=f"192.0.2.4{number}", next_hops=(f"198.51.100.{number}",), asn=64600 + number)
    ifindexes = (100 + number,)
    return Link(name, router, "pni", ifindexes, (session,), 0.0, capacity_bps, local_pref)


def make_pop(four_links: bool) -> Pop:
    """The PoP: link 1 is the peering that congests, 2 and 4 have room and some of its prefixes, 3 is transit."""
    links = [
        _link("pni", "r1", 1, 300, CAPACITY_BPS),
        _link("ixp", "r1", 2, 200, 2 * CAPACITY_BPS),
        _link("transit", "r2", 3, 100, 4 * CAPACITY_BPS),
    ]
    if four_links:
        links.append(_link("other", "r2", 4, 200, 2 * CAPACITY_BPS))
    return Pop("p", 64512, ("198.18.0.0/16",), (_router(1), _router(2)), tuple(links), budgets=BUDGETS)


class SimulatedNetwork:
    """The neighbours' announcements, our routes as the routers have them (`shown`), and the BMP of both routers."""

    def __init__(self, world: World, broker: Broker, traffic: random.Random) -> None:
        self.world, self.broker = world, broker
        self.pop = make_pop(traffic.random() < 0.5)
        self.speakers = {router: MemorySpeaker() for router in self.pop.routers}
        self.shown: dict[str, dict[str, InjectedRoute]] = {router: {} for router in self.pop.routers}
        self.sessions: dict[Peer, Session] = {
            (link.router, session.peer): session for link in self.pop.link for session in link.sessions
        }
        self.transit: Peer = ("r2", "192.0.2.43")
        self.announced = {peer: self._announcements(number, traffic) for number, peer in enumerate(self.sessions, 1)}
        self.up = set(self.sessions)
        self.bmp_up_since_s = dict.fromkeys(self.pop.routers, world.now_s)
        self.bmp_down: set[str] = set()
        self.said_s = dict.fromkeys(self.pop.routers, world.now_s)  # when a router last sent BMP
        self.owned_s = dict.fromkeys(self.pop.routers, world.now_s)  # when its speaker got the owner that it has
        self.numbers = itertools.count(1)  # of the actuators of this run
        self.lease_s = 0.0
        self.has_add_path = traffic.random() < 0.7  # its routers send all their paths to their speakers
        self.unsure = 0.0  # chance that the answer of a speaker to a call it has applied is lost
        self._ports = dict.fromkeys(self.pop.routers, 40_000)  # of their BMP sessions
        self._due: set[str] = set()
        self.world.every(STATS_S, self._publish_stats)
        for router in self.pop.routers:
            self._dump(router)
            self._send_paths(router)

    def _announcements(self, number: int, traffic: random.Random) -> dict[str, tuple[int, ...]]:
        """AS paths by prefix."""
        asn = 64600 + number
        if number == 3:
            return {prefix: (asn, 64700, 65000 + index) for index, prefix in enumerate(PREFIXES)}
        share = 1.0 if number == 1 else 0.75
        return {
            prefix: (asn, 65000 + index) for index, prefix in enumerate(PREFIXES[:PEERED]) if traffic.random() < share
        }

    # what is true

    def alive(self, router: str, prefix: str, next_hop: str) -> bool:
        """Whether a live neighbour of this router announces the prefix with this next hop."""
        return any(
            peer in self.up and prefix in self.announced[peer]
            for peer, session in self.sessions.items()
            if peer[0] == router and next_hop in session.next_hops
        )

    def leaves_by(self, ingress: str, prefix: str) -> str | None:
        """The link on which a packet to this prefix leaves; None if it is lost."""
        router = ingress
        for _ in self.pop.routers:
            route = self.shown[router].get(prefix)
            if route is None:
                return self._natural(router, prefix)
            if (link := self.pop.link_by_next_hop.get((router, route.next_hop))) is not None:
                return link if self.alive(router, prefix, route.next_hop) else None
            router = self.pop.router_by_loopback[route.next_hop]
        return None

    def _natural(self, router: str, prefix: str) -> str | None:
        """The link that plain BGP chooses: by local-pref, then the router's own path; None if there is no path."""
        best = [
            (-link.local_pref, link.router != router, self.pop.link_id(link))
            for link in self.pop.link
            for session in link.sessions
            if (link.router, session.peer) in self.up and prefix in self.announced[link.router, session.peer]
        ]
        return min(best)[2] if best else None

    def owner(self, router: str) -> str | None:
        """Who owns a speaker by what stands in it."""
        note = standing(self.speakers[router].noted.get(OWNER))
        return None if note is None else note.owner

    def copied(self, peer: Peer) -> list[str]:
        """The prefixes that an override sends to this neighbour, sorted."""
        hops, held = self.sessions[peer].next_hops, self.speakers[peer[0]].held
        return sorted(prefix for prefix, route in held.items() if route.next_hop in hops)

    # what happens

    def withdraw(self, peer: Peer, prefix: str) -> None:
        """Withdraw a prefix of this neighbour; does nothing if it does not announce it."""
        if self.announced[peer].pop(prefix, None) is not None and peer in self.up:
            self._publish(peer[0], _route(peer[1], prefix, log_type="withdraw"))
            self._send_paths(peer[0])

    def announce(self, peer: Peer, prefix: str, as_path: tuple[int, ...]) -> None:
        """Announce a prefix from this neighbour."""
        self.announced[peer][prefix] = as_path
        if peer in self.up:
            self._publish_route(peer, prefix)
            self._send_paths(peer[0])

    def down(self, peer: Peer) -> None:
        """Take the session with this neighbour down."""
        if peer in self.up:
            self.up.discard(peer)
            self._publish(peer[0], {"bmp_msg_type": "peer_down", "peer_ip": peer[1]})
            self._send_paths(peer[0])

    def restore(self, peer: Peer) -> None:
        """Bring the session with this neighbour up again, with all its announcements."""
        if peer not in self.up:
            self.up.add(peer)
            self._publish_peer(peer)
            self._send_paths(peer[0])

    def lose_bmp(self, router: str, is_reported: bool) -> None:
        """End the BMP session of a router; its changes go unreported until the session is restored.

        Its collector reports the end, unless it died itself.
        """
        if is_reported:
            self._publish(router, {"event_type": "log_close"})
        self.bmp_down.add(router)

    def restore_bmp(self, router: str) -> None:
        """Bring the BMP session of a router back; the router then reports all its paths again."""
        if router in self.bmp_down:
            self.bmp_down.discard(router)
            self.bmp_up_since_s[router] = self.world.now_s
            self._dump(router)

    def speaker_changed(self, router: str) -> None:
        """The routes in a speaker have changed; its router learns them a moment later."""
        if router not in self._due:
            self._due.add(router)
            self.world.after(self.world.rng.uniform(*DELAY_S), lambda: self._learn(router))

    def restart_speaker(self, router: str) -> None:
        """Restart a speaker: its session drops and all its routes are lost."""
        injector = self.pop.routers[router].injector.address
        self.speakers[router].down = False
        self.speakers[router].lose()
        self.speakers[router].router_gone()
        self._send_paths(router)
        self.shown[router].clear()
        self._publish(router, {"bmp_msg_type": "peer_down", "peer_ip": injector})
        self._publish(router, {"bmp_msg_type": "peer_up", "peer_ip": injector, "peer_asn": self.pop.asn})

    def _learn(self, router: str) -> None:
        self._due.discard(router)
        held, shown = self.speakers[router].held, self.shown[router]
        injector = self.pop.routers[router].injector.address
        for prefix in sorted(shown.keys() - held.keys()):
            del shown[prefix]
            self._publish(router, _route(injector, prefix, log_type="withdraw"))
        for prefix in sorted(held):
            if shown.get(prefix) != held[prefix]:
                shown[prefix] = held[prefix]
                self._publish_override(router, held[prefix])

    def _send_paths(self, router: str) -> None:
        """Let a router send its external paths to its speaker a moment later, if it does that at all."""
        if self.has_add_path:
            self.world.after(self.world.rng.uniform(*DELAY_S), lambda: self._send_paths_now(router))

    def _send_paths_now(self, router: str) -> None:
        for prefix in PREFIXES:
            self.speakers[router].router_sends(prefix, *sorted(self._hops(router, prefix)))

    def _hops(self, router: str, prefix: str) -> set[str]:
        return {
            session.next_hops[0]
            for peer, session in self.sessions.items()
            if peer[0] == router and peer in self.up and prefix in self.announced[peer]
        }

    # what BMP reports

    def _publish_stats(self) -> None:
        for router in self.pop.routers:
            self._publish(router, {"bmp_msg_type": "stats"})

    def _dump(self, router: str) -> None:
        self._ports[router] += 1
        self._publish(router, {"bmp_msg_type": "init", "bmp_init_info_sysname": router})
        injector = self.pop.routers[router].injector.address
        self._publish(router, {"bmp_msg_type": "peer_up", "peer_ip": injector, "peer_asn": self.pop.asn})
        for route in self.shown[router].values():
            self._publish_override(router, route)
        for peer in self.sessions:
            if peer[0] == router and peer in self.up:
                self._publish_peer(peer)

    def _publish_peer(self, peer: Peer) -> None:
        asn = self.sessions[peer].asn
        self._publish(peer[0], {"bmp_msg_type": "peer_up", "peer_ip": peer[1], "peer_asn": asn})
        for prefix in self.announced[peer]:
            self._publish_route(peer, prefix)

    def _publish_route(self, peer: Peer, prefix: str) -> None:
        as_path = " ".join(map(str, self.announced[peer][prefix]))
        hop = self.sessions[peer].next_hops[0]
        self._publish(peer[0], _route(peer[1], prefix, log_type="update", bgp_nexthop=hop, as_path=as_path, origin="i"))

    def _publish_override(self, router: str, route: InjectedRoute) -> None:
        record = _route(
            self.pop.routers[router].injector.address,
            route.prefix,
            log_type="update",
            bgp_nexthop=route.next_hop,
            as_path=" ".join(map(str, route.as_path)),
            origin="i",
            local_pref=route.local_pref,
            comms=" ".join(route.communities),
            lcomms=":".join(map(str, route.large_community)),
        )
        self._publish(router, record)

    def _publish(self, router: str, record: dict[str, object]) -> None:
        if router in self.bmp_down:
            return
        self.said_s[router] = self.world.now_s
        header = {
            "event_type": "log",
            "bmp_router": self.pop.routers[router].ibgp_address,
            "bmp_router_port": self._ports[router],
            "writer_id": "w",
        }
        self.broker.append(topics.BMP.for_pop(self.pop.name), msgspec.json.encode(header | record))


def _route(peer: str, prefix: str, **fields: object) -> dict[str, object]:
    return {
        "bmp_msg_type": "route_monitor",
        "is_in": 1,
        "is_post": 1,
        "safi": 1,
        "peer_ip": peer,
        "ip_prefix": prefix,
    } | fields
