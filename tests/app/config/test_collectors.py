"""Whom the collectors hear, by the inventory."""

from pathlib import PurePosixPath
from typing import Any

import msgspec
import pytest

from app.config.collectors import (
    BMP_ALLOWED,
    FLOWS_ALLOWED,
    PMBMPD_LINES,
    PRODUCER,
    SESSIONS_EACH,
    SFACCTD_LINES,
    SOURCES_MAX,
    SPARE_PEERS,
    collector_files,
)
from app.config.inventory import Pop
from app.config.settings import Kafka
from tests.pops import demo_pop, router

FOLDER = PurePosixPath("/etc/pmacct")


def pop_of(count: int, **changes: tuple[str, ...]) -> Pop:
    routers = tuple(
        msgspec.structs.replace(
            router(1, **changes), name=f"r{number}", agent_address=f"10.{number // 250}.{number % 250}.1"
        )
        for number in range(count)
    )
    return msgspec.structs.replace(demo_pop(), router=routers)


def addresses(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("!")]


def test_each_list_has_every_router_once() -> None:
    files = collector_files(pop_of(3), FOLDER)
    assert addresses(files[FLOWS_ALLOWED]) == ["10.0.0.1", "10.0.1.1", "10.0.2.1"]
    assert files[FLOWS_ALLOWED].count("! r") == 3
    assert "! r0, r1, r2\n127.0.0.11\n" in files[BMP_ALLOWED], "they share one, here"
    assert {"10.0.0.1", "10.0.1.1", "10.0.2.1"} < set(addresses(files[BMP_ALLOWED])), "and may send from their others"


def test_a_router_with_one_address_in_two_roles_is_named_once() -> None:
    files = collector_files(pop_of(1, agent_sources=("192.0.2.7", "192.0.2.7")), FOLDER)
    assert "! r0\n192.0.2.7\n" in files[FLOWS_ALLOWED]


def test_sources_stand_in_for_the_agents_address_in_one_spelling() -> None:
    files = collector_files(pop_of(2, agent_sources=("2001:DB8:0::1", "192.0.2.7")), FOLDER)
    assert addresses(files[FLOWS_ALLOWED]) == ["2001:db8::1", "192.0.2.7"]


def test_the_lines_name_the_files_and_leave_room_for_a_session_that_hangs() -> None:
    files = collector_files(pop_of(30), FOLDER)
    assert f"sfacctd_allow_file: {FOLDER}/{FLOWS_ALLOWED}\n" in files[SFACCTD_LINES]
    assert f"bmp_daemon_allow_file: {FOLDER}/{BMP_ALLOWED}\n" in files[PMBMPD_LINES]
    assert f"bmp_daemon_max_peers: {SESSIONS_EACH * 30 + SPARE_PEERS}\n" in files[PMBMPD_LINES]
    assert sum(text.count(f"{FOLDER}/{PRODUCER}") for text in files.values()) == 3
    assert files[PRODUCER] == "global, enable.idempotence, true\n"


def test_a_list_that_pmacct_would_not_read_to_its_end_is_refused() -> None:
    collector_files(pop_of(SOURCES_MAX - 100), FOLDER)
    with pytest.raises(ValueError, match="pmacct reads at most 2048"):
        collector_files(pop_of(SOURCES_MAX + 1), FOLDER)


def test_the_producer_reaches_the_broker_as_we_do() -> None:
    files: dict[str, Any] = {"ca_file": "/tls/ca.crt", "cert_file": "/tls/tls.crt", "key_file": "/tls/tls.key"}
    assert producer(Kafka()) == {"enable.idempotence": "true"}
    mtls = producer(Kafka(security="mtls", **files))
    assert mtls["security.protocol"] == "ssl"
    assert mtls["ssl.endpoint.identification.algorithm"] == "https"
    assert [mtls[f"ssl.{key}.location"] for key in ("ca", "certificate", "key")] == list(files.values())
    scram = producer(Kafka(security="sasl-scram", username="flows", password_file="/pw"), "a, b = c")
    assert scram["security.protocol"] == "sasl_ssl"
    assert (scram["sasl.mechanism"], scram["sasl.username"]) == ("SCRAM-SHA-512", "flows")
    assert scram["sasl.password"] == "a, b = c", "pmacct takes the rest of the line"


def test_a_line_that_pmacct_would_cut_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"kafka_config_file: the line of ssl\.ca\.location is longer than pmacct reads"
    ):
        producer(Kafka(security="tls", ca_file=f"/{'x' * 250}"))


def producer(kafka: Kafka, password: str | None = None) -> dict[str, str]:
    text = collector_files(pop_of(1), FOLDER, kafka, password)[PRODUCER]
    keys = {}
    for line in text.splitlines():
        kind, key, value = line.split(", ", 2)
        assert kind == "global"
        keys[key] = value
    return keys
