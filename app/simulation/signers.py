"""The keys of a simulated run, the same in every run."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.config.trusted_keys import TrustedKey, TrustSettings
from app.contract.signing import Signer

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
TRUST = TrustSettings(key=(TrustedKey(name="telemetry", public=SIGNER.public_text, signs=("decisions", "control")),))
