"""The policies that `autopilot check` reads back: of every gobgpd, and of routers whose configuration it is given."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.bgp.policy_client import read_policies
from app.bgp.tls import tls_to
from app.config.gobgp_settings import Gobgp
from app.config.inventory import Pop, Router
from app.errors import ConfigError, SpeakerError
from app.lab.pop.vty import ask
from app.routers import frr_config, gobgp_policy
from app.routers.judge import injector_problems, router_problems

Key = tuple[str, str]  # PoP and router
ANSWER_S = 3.0
VTY = "bgpd.vty"


def by_router(pops: Mapping[str, Pop], options: tuple[str, ...]) -> dict[Key, str]:
    """Where the policy of a router is read, from options such as `edge1=FILE` or `ams1/edge1=FILE`.

    ConfigError names an option that fits no router, or several.
    """
    found: dict[Key, str] = {}
    for option in options:
        name, equals, where = option.partition("=")
        keys = [
            (pop.name, router.name)
            for pop in pops.values()
            for router in pop.router
            if name in (router.name, f"{pop.name}/{router.name}")
        ]
        if not equals or not where or len(keys) != 1:
            known = "several PoPs have that router: write POP/ROUTER=WHERE" if len(keys) > 1 else "write ROUTER=WHERE"
            routers = ", ".join(f"{pop.name}/{router.name}" for pop in pops.values() for router in pop.router)
            raise ConfigError([f"--router-config {option!r}: {known}, with one of {routers}"])
        found[keys[0]] = where
    return found


async def of_injectors(pops: Mapping[str, Pop], reachable: Mapping[Key, bool], gobgp: Gobgp) -> dict[Key, list[str]]:
    """What is wrong with the gobgpd beside each router that answers, by PoP and router."""
    asked = [(pop, router) for pop in pops.values() for router in pop.router if reachable[pop.name, router.name]]
    answers = await asyncio.gather(*(_of_injector(pop, router, gobgp) for pop, router in asked))
    return {(pop.name, router.name): answer for (pop, router), answer in zip(asked, answers, strict=True)}


async def _of_injector(pop: Pop, router: Router, gobgp: Gobgp) -> list[str]:
    target = router.injector.grpc
    try:
        policies = await read_policies(target, ANSWER_S, tls_to(target, gobgp))
    except SpeakerError as error:
        return [f"its policies cannot be read: {error}"]
    return [*injector_problems(pop, router, gobgp_policy.read_gobgp(policies, pop.marker_community))]


async def of_routers(pops: Mapping[str, Pop], where: Mapping[Key, str]) -> dict[Key, list[str]]:
    """What the policies of these routers lack, by PoP and router; `where` as --router-config has it."""
    problems: dict[Key, list[str]] = {}
    for (pop, name), place in where.items():
        router = pops[pop].routers[name]
        try:
            problems[pop, name] = [*await _of_router(pops[pop], router, place)]
        except OSError as error:
            problems[pop, name] = [f"{place} cannot be read: {error.strerror}; name another --router-config"]
        except (SpeakerError, ValueError) as error:
            problems[pop, name] = [f"{place}: {error}"]
    return problems


async def _of_router(pop: Pop, router: Router, place: str) -> Iterator[str]:
    """A gobgpd's gRPC address, the folder of FRR's vty sockets, or a file with FRR's configuration."""
    marker, path = pop.marker_community, Path(place)
    if place.startswith("unix://") or (":" in place and not path.exists()):
        policy = gobgp_policy.read_gobgp(await read_policies(place, ANSWER_S), marker)
        return router_problems(pop, router, policy, gobgp_policy.ADVICE)
    if path.is_dir():
        text = (await ask(path / VTY, "show running-config")).decode(errors="replace")
    else:
        text = path.read_text(encoding="utf-8", errors="replace")
    return router_problems(pop, router, frr_config.read_frr(text, marker), frr_config.ADVICE)
