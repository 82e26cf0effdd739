"""Why a broker and we do not come together, in one sentence with what to do; a library's own text says neither."""

import ssl
from collections.abc import Iterator

from aiokafka.errors import (
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from app.clock import utc
from app.config.settings import Kafka
from app.kafka.credentials import Credentials, Unusable

MECHANISM = "SCRAM-SHA-512"
NOT_YET_VALID, EXPIRED, NAME, ADDRESS = 9, 10, 62, 64  # X509_V_ERR of OpenSSL, as `verify_code` has them
CLOSED = (
    "it closed the connection without an answer; is it stopping, or does its listener expect another kafka.security?"
)


def refusal(credentials: Credentials, host: str, error: BaseException, now_s: float) -> str | None:
    """What this failure to connect means; None if it says nothing of TLS or a login, as when nobody listens."""
    kafka = credentials.kafka
    for cause in _causes(error):
        match cause:
            case Unusable():
                return str(cause)
            case ssl.SSLCertVerificationError():
                return _unverified(kafka, host, cause)
            case ssl.SSLError():
                return _of_tls(credentials, cause, now_s)
            case SaslAuthenticationFailed():
                return (
                    f"it refuses the user {kafka.username} with the password in kafka.password_file"
                    f" ({kafka.password_file}); write the user's password there, or give the user this one"
                )
            case UnsupportedSaslMechanismError():
                return f"its listener offers no {MECHANISM}; add it to the listener's sasl.enabled.mechanisms"
            case IllegalSaslStateError():
                return 'its listener expects no user and password; write kafka.security = "tls" or "mtls"'
            case EOFError() | ConnectionResetError() | BrokenPipeError():
                return _of_certificate(credentials, now_s, surely=False) or CLOSED
            case ValueError() if kafka.security == "sasl-scram":
                return f"it does not know the password of {kafka.username} itself: {cause}; is kafka.broker right?"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _unverified(kafka: Kafka, host: str, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in (NAME, ADDRESS):
        return (
            f"its certificate is not for {host}; write a name that the certificate has in kafka.broker and in the"
            " brokers' advertised.listeners"
        )
    if error.verify_code in (EXPIRED, NOT_YET_VALID):
        says = "has expired" if error.verify_code == EXPIRED else "does not hold yet"
        return f"its certificate, or a CA's before it, {says}; renew it, or set the clock of this host right"
    trusted = f"the CAs in kafka.ca_file ({kafka.ca_file})" if kafka.ca_file else "the CAs of this operating system"
    return (
        f"its certificate comes from none of {trusted}: {error.verify_message}; write the brokers' CA in kafka.ca_file"
    )


def _of_tls(credentials: Credentials, error: ssl.SSLError, now_s: float) -> str:
    reason = error.reason or str(error)
    if "ALERT" in reason:
        return _of_certificate(credentials, now_s, surely=True) or f"it ended TLS: {reason}; its log says why"
    if "WRONG_VERSION" in reason or "EOF" in reason:
        return CLOSED
    return f"TLS failed: {reason}; is its listener one of TLS, as kafka.security says?"


def _of_certificate(credentials: Credentials, now_s: float, surely: bool) -> str | None:
    """What is wrong with our certificate, or the lack of one, as far as we know; `surely` if the broker complained."""
    kafka, ours = credentials.kafka, credentials.certificate()
    if ours is not None:
        named = f"the certificate in kafka.cert_file ({kafka.cert_file}, {ours.subject} by {ours.issuer})"
        if ours.ends_s <= now_s:
            return f"it refuses {named}, which expired at {utc(ours.ends_s)}; renew it"
        if ours.begins_s > now_s:
            return (
                f"it refuses {named}, which holds only from {utc(ours.begins_s)} on; is the clock of this host right?"
            )
        return f"it refuses {named}; is it of a CA that the brokers trust for clients?" if surely else None
    if not surely or kafka.security == "plaintext":
        return None
    how = 'kafka.security = "mtls" with ' if kafka.security == "tls" else ""
    return f"it wants a certificate of ours; write {how}kafka.cert_file and kafka.key_file"
