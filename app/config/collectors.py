"""Whom pmacct's collectors hear: their allow lists, from the inventory, and the configuration beside them."""

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from string import Template
from typing import NamedTuple

from app.config.inventory import Pop, Router
from app.config.settings import Kafka
from app.contract.topics import BMP, COUNTERS, FLOWS

FLOWS_ALLOWED, BMP_ALLOWED, PRODUCER = "sfacctd_allow_file", "bmp_daemon_allow_file", "kafka_config_file"
SFACCTD_LINES, PMBMPD_LINES = "sfacctd.lines", "pmbmpd.lines"
SFACCTD, PMBMPD = "sfacctd.conf", "pmbmpd.conf"
TEMPLATES = Path(__file__).parent / "templates"
SFLOW_PORT, BMP_PORT = 6343, 1790
PLUGIN = "flows"  # the name that it has in the templates
SESSIONS_EACH = 2  # of a router: one for each of its instances, or one that connects again before the last has ended
SPARE_PEERS = 4
SOURCES_MAX = 2048  # pmacct 1.7.7 reads no more addresses of a list, and does not say so

# Without this, a batch that librdkafka sends again may come after the next one: markers before their data, records of
# a BMP session before its initiation message, an update after the withdraw that follows it.
PLAIN = Kafka()
IN_ORDER = {"enable.idempotence": "true"}
PROTOCOLS = {"tls": "ssl", "mtls": "ssl", "sasl-scram": "sasl_ssl"}
LINE_BYTES_MAX = 255  # of a kafka_config_file: pmacct takes what is longer for two lines


class Listens(NamedTuple):
    """Where a pair of collectors listens, and what sfacctd's plugin is called."""

    address: str
    plugin: str = PLUGIN


def collector_files(pop: Pop, folder: PurePath, kafka: Kafka = PLAIN, password: str | None = None) -> dict[str, str]:
    """The text of each file by name, for collectors that find them in `folder`, and the broker as `kafka` says.

    ValueError if a list or a line is longer than pmacct reads.
    """
    flows, bmp = flow_sources(pop), bmp_sources(pop)
    return {
        FLOWS_ALLOWED: _allowed("sFlow datagrams", flows),
        BMP_ALLOWED: _allowed("BMP sessions", bmp),
        PRODUCER: _producer(kafka, password),
        SFACCTD_LINES: _lines(
            f"! {pop.name}: these lines belong in sfacctd.conf.",
            "! If several collectors write to one topic, give the plugin of each a name of its own instead of flows.",
            f"sfacctd_allow_file: {folder / FLOWS_ALLOWED}",
            f"kafka_config_file[flows]: {folder / PRODUCER}",
            f"sfacctd_counter_kafka_config_file: {folder / PRODUCER}",
        ),
        PMBMPD_LINES: _lines(
            f"! {pop.name}: these lines belong in pmbmpd.conf, in place of those with the same keys.",
            f"bmp_daemon_allow_file: {folder / BMP_ALLOWED}",
            f"bmp_daemon_max_peers: {SESSIONS_EACH * len(pop.router) + SPARE_PEERS}",
            f"bmp_daemon_msglog_kafka_config_file: {folder / PRODUCER}",
        ),
    }


def whole_files(pop: Pop, files: Mapping[str, str], listens: Listens, kafka: Kafka, refresh_s: int) -> dict[str, str]:
    """These `collector_files`, and the whole configuration of both collectors in place of the lines for it."""
    host, _, port = kafka.broker.partition(",")[0].rpartition(":")
    values = {
        "address": listens.address,
        "sflow": SFLOW_PORT,
        "bmp": BMP_PORT,
        "kafka_host": host.strip("[]"),
        "kafka": port,
        "flows_topic": FLOWS.for_pop(pop.name),
        "counters_topic": COUNTERS.for_pop(pop.name),
        "bmp_topic": BMP.for_pop(pop.name),
        "refresh_s": refresh_s,
    }
    whole = {}
    for name, lines in ((SFACCTD, SFACCTD_LINES), (PMBMPD, PMBMPD_LINES)):
        text = Template((TEMPLATES / name).read_text(encoding="utf-8")).substitute(values) + files[lines]
        whole[name] = text.replace(f"[{PLUGIN}]", f"[{listens.plugin}]")
    return {name: text for name, text in files.items() if name not in (SFACCTD_LINES, PMBMPD_LINES)} | whole


def flow_sources(pop: Pop) -> dict[str, list[str]]:
    """The addresses that sFlow datagrams may come from, each with the routers that it sends for."""
    return _by_address(
        (router, address) for router in pop.router for address in router.agent_sources or (router.agent_address,)
    )


def bmp_sources(pop: Pop) -> dict[str, list[str]]:
    """The addresses that BMP sessions may come from, each with its routers."""
    return _by_address((router, address) for router in pop.router for address in router.bmp_addresses)


def _producer(kafka: Kafka, password: str | None) -> str:
    """The configuration of librdkafka, as pmacct reads it."""
    keys: dict[str, str | None] = {**IN_ORDER}
    if kafka.security in PROTOCOLS:
        keys |= {
            "security.protocol": PROTOCOLS[kafka.security],
            "ssl.endpoint.identification.algorithm": "https",  # no default before librdkafka 2.0
            "ssl.ca.location": kafka.ca_file,
            "ssl.certificate.location": kafka.cert_file,
            "ssl.key.location": kafka.key_file,
        }
    if kafka.security == "sasl-scram":
        keys |= {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": kafka.username, "sasl.password": password}
    lines = [f"global, {key}, {value}" for key, value in keys.items() if value is not None]
    if longest := next((line for line in lines if len(line.encode()) > LINE_BYTES_MAX), None):
        key = longest.split(", ")[1]
        raise ValueError(f"{PRODUCER}: the line of {key} is longer than pmacct reads ({LINE_BYTES_MAX} bytes)")
    return _lines(*lines)


def _by_address(sources: Iterator[tuple[Router, str]]) -> dict[str, list[str]]:
    by_address: dict[str, list[str]] = {}
    for router, address in sources:
        routers = by_address.setdefault(str(ipaddress.ip_address(address)), [])
        if router.name not in routers:
            routers.append(router.name)
    return by_address


def _allowed(what: str, sources: Mapping[str, list[str]]) -> str:
    if len(sources) > SOURCES_MAX:
        raise ValueError(f"{len(sources)} addresses: pmacct reads at most {SOURCES_MAX} of an allow list")
    lines = [line for address, routers in sources.items() for line in (f"! {', '.join(routers)}", address)]
    return _lines(f"! {what} are taken from these addresses only. After a change: kill -USR2 of the collector.", *lines)


def _lines(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)
