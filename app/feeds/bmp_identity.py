"""Which router a BMP session is of: its source address and the sysName in its initiation message, both together.

A sysName is what the sender chooses to say. A session counts only if it comes from an address that the inventory gives
to that router, so nobody else can take a router's place, whether it is connected or not.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

from app.config.inventory import Pop, Router
from app.contract.decoding import printable
from app.feeds.bmp import canonical

WORD_CHARS_MAX = 80
AlarmKind = Literal["bmp-name-taken", "bmp-renamed", "bmp-stranger"]


class Identity(NamedTuple):
    """Whom a session is of. Without a router, its records are ignored, and `ignored` is the reason.

    `alarm` is the kind of what people should know of it, about the place `where`, in the words of `text`.
    """

    router: str | None
    ignored: str = ""
    alarm: AlarmKind | None = None
    where: str = ""
    text: str = ""


class Identifier:
    """Identifies the BMP sessions of one PoP. Several routers may share an address, behind a proxy or on one host."""

    def __init__(self, pop: Pop) -> None:
        self._by_sysname = {router.bmp_sysname: router for router in pop.router}
        self._at_address: dict[str, list[Router]] = {}
        for router in pop.router:
            for address in addresses(router):
                self._at_address.setdefault(address, []).append(router)

    def by_address(self, address: str) -> str | None:
        """The only router with this address; None if there is none, or several."""
        routers = self._at_address.get(_spelled(address), ())
        return routers[0].name if len(routers) == 1 else None

    def may_be(self, router: str, address: str, sysname: str) -> bool:
        """Whether a session from this address can be of this router, or else of none; its sysName may not be known."""
        return self.named(address, sysname) in (router, None) and (
            not self.is_known(address) or router in {each.name for each in self._at_address[_spelled(address)]}
        )

    def named(self, address: str, sysname: str) -> str | None:
        """The router with this address and sysName; an empty one is not known."""
        return self.by_name(address, sysname).router if sysname else self.by_address(address)

    def is_known(self, address: str) -> bool:
        """Whether any router has this address."""
        return _spelled(address) in self._at_address

    def by_name(self, address: str, sysname: str) -> Identity:
        """The router of a session from this address whose initiation message has this sysName, which may be empty."""
        router = self._by_sysname.get(sysname)
        if router is not None and router in self._at_address.get(_spelled(address), ()):
            return Identity(router.name)
        says = f"A BMP session from {_word(address)} says that its sysName is {_word(sysname)!r}"
        if router is not None:
            text = (
                f"{says}, but the inventory has {', '.join(sorted(addresses(router)))} for {router.name}. Its records"
                f" are ignored. If it is {router.name}, set its bmp_address; if not, keep it away from the collector"
                " (bmp_daemon_allow_file)."
            )
            return Identity(None, "wrong-bmp-address", "bmp-name-taken", router.name, text)
        if (only := self.by_address(address)) is not None:
            text = f"{says}, which is not that of {only} in the inventory. It is taken as {only}; correct bmp_sysname."
            return Identity(only, alarm="bmp-renamed" if sysname else None, where=only, text=text)
        text = f"{says}, and the inventory has neither. Its records are ignored; add the router, or keep it away."
        return Identity(None, "unknown-sysname", "bmp-stranger", _word(sysname or address), text)


def addresses(router: Router) -> set[str]:
    """Every address from which a router may send BMP: `bmp_address`, and whatever else the inventory gives it."""
    return set(map(_spelled, router.bmp_addresses))


@lru_cache(1 << 10)
def _spelled(address: str) -> str:
    """The usual spelling of an address; what is none stays as it is, and is nobody's."""
    try:
        return canonical(address)
    except ValueError:
        return address


def _word(text: str) -> str:
    """What a stranger says, fit to be shown: printable and short."""
    return printable(text[:WORD_CHARS_MAX])
