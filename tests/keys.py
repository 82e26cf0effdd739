"""Keys of tests: who is trusted, who is not, and settings that say so."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.config.trusted_keys import ANYBODY as ANYBODY_MAY
from app.config.trusted_keys import TrustedKey
from app.contract.signing import Keyring, Kind, Signer

ANYBODY = Keyring({}, demands=False)
UNSIGNED = {"accept_unsigned": ANYBODY_MAY}  # settings of rigs that write decisions themselves


def signer(seed: int) -> Signer:
    """Another key for each seed."""
    return Signer(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)))


def trusted(of: Signer, *signs: Kind, name: str = "", pops: tuple[str, ...] = ()) -> TrustedKey:
    """A line of the settings that trusts this key."""
    return TrustedKey(name=name or of.key_id, public=of.public_text, signs=signs, pops=pops)
