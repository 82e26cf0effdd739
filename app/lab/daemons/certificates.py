"""A small CA for brokers, clients and collectors of the laboratory. Keys are made in a moment (P-256); none is kept."""

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.clock import SystemClock

DAYS = 30.0
HOUR = timedelta(hours=1)  # certificates hold since then, as clocks differ


class Issued(NamedTuple):
    """A certificate and its private key, in PEM."""

    certificate: str
    key: str


class Authority:
    """A CA that exists as long as this object."""

    def __init__(self, name: str) -> None:
        self._name = _named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = _builder(self._name, self._name, self._key.public_key(), DAYS)
        ours = builder.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())
        self.certificate = ours.public_bytes(Encoding.PEM).decode()

    def issue(self, name: str, reached_at: Iterable[str] = (), days: float = DAYS, group: str = "") -> Issued:
        """A certificate for a client or, with the names and addresses it is reached at, a server.

        It holds for `days` from now on; a negative number makes one that has expired. `group` is its organization.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        builder = _builder(_named(name, group), self._name, key.public_key(), days).add_extension(
            usages, critical=False
        )
        if names := [_reached_at(each) for each in reached_at]:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        return Issued(certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def _named(name: str, group: str = "") -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    ends = datetime.fromtimestamp(SystemClock().now_s(), UTC) + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=abs(days)) - HOUR)
        .not_valid_after(ends)
    )


def _reached_at(place: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(place))
    except ValueError:
        return x509.DNSName(place)
