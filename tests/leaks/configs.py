"""What edges and injectors run: the policies that we ship, and around them the rest of a router like an operator's."""

from app.config.inventory import Pop, Router, Session
from app.lab.daemons.machine import Site
from app.lab.daemons.policy import HOLD_S, KEEPALIVE_S
from app.routers.router_files import Collector, injector_config, own_prefixes, router_config

FAMILIES = (4, 6)
PLATFORMS = ("gobgp", "frr", "bird")  # of r1, r2 and r3
# What lets our routes out to eBGP neighbours: a part of the policy, and what to write instead.
HOLES = {
    "gobgp": (
        'name = "autopilot-no-marker"\n'
        'conditions.bgp-conditions.match-community-set.community-set = "autopilot-marker"\n'
        'actions.route-disposition = "{}-route"\n',
        ("reject", "accept"),
    ),
    "frr": ("route-map AUTOPILOT-TO-EBGP {} 10\n", ("deny", "permit")),
    "bird": ("filter autopilot_to_ebgp {{\n    if AUTOPILOT_MARKER ~ bgp_community then {};\n", ("reject", "accept")),
}
# Next hops are only data here, but BIRD has to believe that it reaches them.
REACHED = {
    4: 'route 198.51.100.0/24 via "lo"; route 192.0.2.0/24 via "lo";',
    6: 'route 2001:db8::/48 via "lo"; route 2001:db8:ffff::/48 via "lo";',
}


def shipped(site: Site, pop: Pop, router: Router, leaky: bool) -> str:
    """What we ship for this router, the policy under test; a `leaky` one lets our routes out to eBGP neighbours."""
    platform = PLATFORMS[pop.router.index(router)]
    text = router_config(pop, router, platform, Collector("127.0.0.1", site.ports.bmp))
    if not leaky:
        return text
    part, words = HOLES[platform]
    return changed(text, *(part.format(word) for word in words))


def changed(text: str, old: str, new: str) -> str:
    """The text with a part replaced, which must be there."""
    assert old in text, f"the configuration has no {old!r} any more"
    return text.replace(old, new)


def injector(site: Site, pop: Pop, router: Router) -> str:
    """The whole configuration of the gobgpd beside a router."""
    local = f'transport.config.local-address = "{router.injector.address}"\n'
    return changed(injector_config(pop, router), local, f"{local}transport.config.remote-port = {site.ports.bgp}\n")


def gobgpd(site: Site, pop: Pop, router: Router, leaky: bool) -> str:
    """A gobgpd as an edge, to which every peer connects."""
    address, others = router.ibgp_address, _others(pop, router)
    local = f'transport.config.local-address = "{address}"\n'
    text = changed(shipped(site, pop, router, leaky), local, f"{local}transport.config.passive-mode = true\n")
    exports = 'export-policy-list = ["autopilot-export"{}]\n'
    text = changed(text, exports.format(""), exports.format(', "edges"'))
    text += f"""
[[defined-sets.neighbor-sets]]
neighbor-set-name = "edges"
neighbor-info-list = [{", ".join(f'"{other.ibgp_address}"' for other in others)}]
[[policy-definitions]]
name = "edges"
[[policy-definitions.statements]]
name = "edges"
conditions.match-neighbor-set.neighbor-set = "edges"
conditions.bgp-conditions.route-type = "external"
actions.route-disposition = "accept-route"
"""
    peers = [(session.peer, session.asn) for session in sessions(pop, router)]
    for peer, asn in [*peers, *((other.ibgp_address, pop.asn) for other in others)]:
        text += f"""
[[neighbors]]
config.neighbor-address = "{peer}"
config.peer-as = {asn}
transport.config.passive-mode = true
timers.config.hold-time = {HOLD_S}
timers.config.keepalive-interval = {KEEPALIVE_S}
{local}"""
        text += "".join(
            f'[[neighbors.afi-safis]]\nconfig.afi-safi-name = "ipv{family}-unicast"\n' for family in FAMILIES
        )
    head = f'[global.config]\nas = {pop.asn}\nrouter-id = "{router.loopback4}"\nport = {site.ports.bgp}\n'
    return f'{head}local-address-list = ["{address}"]\n{text}'


def bgpd(site: Site, pop: Pop, router: Router, leaky: bool) -> str:
    """FRR's bgpd as an edge. It connects to the other edges, everybody else to it."""
    neighbours, others = [session.peer for session in sessions(pop, router)], _others(pop, router)
    lines = [f"hostname {router.bmp_sysname}", "log stdout notifications", "bgp route-map delay-timer 0"]
    lines += ["route-map ALL permit 10", f"router bgp {pop.asn}", f" bgp router-id {router.loopback4}"]
    lines += [" no bgp default ipv4-unicast", " no bgp network import-check", f" timers bgp {KEEPALIVE_S} {HOLD_S}"]
    for peer in (router.injector.address, *neighbours):
        lines += [f" neighbor {peer} {words}" for words in ("passive", "disable-connected-check")]
        lines += [f" neighbor {peer} update-source {router.ibgp_address}"]
    for other in others:
        words = (f"remote-as {pop.asn}", f"port {site.ports.bgp}", f"update-source {router.ibgp_address}")
        lines += [f" neighbor {other.ibgp_address} {each}" for each in (*words, "timers connect 2")]
    for family in FAMILIES:
        lines += [f" address-family ipv{family} unicast"]
        lines += [f"  network {prefix}" for prefix in own_prefixes(pop, family)]
        for peer in neighbours:
            lines += [f"  neighbor {peer} activate", f"  neighbor {peer} route-map ALL in"]
        for other in others:
            lines += [f"  neighbor {other.ibgp_address} activate", f"  neighbor {other.ibgp_address} next-hop-self"]
        lines += [" exit-address-family"]
    return "\n".join([shipped(site, pop, router, leaky), *lines, ""])


def bird(site: Site, pop: Pop, router: Router, leaky: bool) -> str:
    """BIRD as an edge. It connects to r1, everybody else to it."""
    listens = f"local {router.ibgp_address} as {pop.asn};"
    local = f"local {router.ibgp_address} port {site.ports.bgp} as {pop.asn}; strict bind; multihop;"
    local += f" hold time {HOLD_S}; keepalive time {KEEPALIVE_S};"
    lines = ["log stderr all;", f"router id {router.loopback4};", "protocol device {}"]
    lines += [changed(shipped(site, pop, router, leaky), listens, f"{local} passive;")]
    for family in FAMILIES:
        own = " ".join(f"route {prefix} unreachable;" for prefix in own_prefixes(pop, family))
        lines += [f"protocol static own{family} {{ ipv{family}; {own} }}"]
        lines += [f"protocol static {{ ipv{family}; {REACHED[family]} }}"]
    hops = zip(FAMILIES, router.loopbacks, strict=True)
    channels = " ".join(f"ipv{family} {{ import all; next hop address {hop}; }};" for family, hop in hops)
    for session in sessions(pop, router):
        neighbour = f"neighbor {session.peer} as {session.asn};"
        lines += [
            f"protocol bgp {protocol_of(session)} from autopilot_ebgp {{ {local} passive; {neighbour} {channels} }}"
        ]
    for place, other in enumerate(_others(pop, router)):
        calls = f"neighbor port {site.ports.bgp};" if place == 0 else "passive;"
        channels = " ".join(f"ipv{family} {{ import all; export where source = RTS_BGP; }};" for family in FAMILIES)
        neighbour = f"neighbor {other.ibgp_address} as {pop.asn};"
        lines += [f"protocol bgp {other.name} {{ {local} {neighbour} {calls} {channels} }}"]
    return "\n".join([*lines, ""])


def protocol_of(session: Session) -> str:
    """The name of the protocol of an eBGP neighbour in BIRD."""
    return f"neighbour_{session.peer.replace('.', '_')}"


def sessions(pop: Pop, router: Router) -> list[Session]:
    """The eBGP sessions of a router."""
    return [session for link in pop.link if link.router == router.name for session in link.sessions]


def _others(pop: Pop, router: Router) -> list[Router]:
    return [other for other in pop.router if other.name != router.name]
