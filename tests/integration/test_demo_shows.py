"""What must never happen, and what bad input does, as a user sees it: three scenarios of the demo, run to their end."""

import asyncio
import sys
from typing import Any

import msgspec
import pytest

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]


async def demo(scenario: str, *arguments: str) -> dict[str, Any]:
    """The figures of a run that ends with status 0."""
    argv = [sys.executable, "-m", "app", "demo", "--scenario", scenario, "--json", *arguments]
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, f"{out.decode()}\n{err.decode()}"
    figures: dict[str, Any] = msgspec.json.decode(out.splitlines()[-1])
    assert figures["ok"] is True
    told = err.decode().splitlines()
    assert told[0].startswith(f"{scenario}: "), "it says first what it is going to do"
    (page,) = (at for at, line in enumerate(told) if line.startswith("open http://"))
    assert page < told.index("starting telemetry and actuator")
    return figures


async def test_without_the_export_policy_neighbours_are_told_of_overrides() -> None:
    figures = await demo("leak")
    assert figures["overrides_announced"] > 0
    assert figures["leaks"] > figures["leaked_overrides"] > 0
    assert figures["loops"] == 0


async def test_a_loop_is_counted_while_its_cause_stands_and_a_stray_route_is_taken_out() -> None:
    figures = await demo("loop")
    assert figures["loops"] > 0
    assert figures["looped_bytes"] > 0
    assert figures["loop_route_stood_s"] > 0
    assert figures["drifts_reported"] > 0
    assert figures["leaks"] == figures["overrides_announced"] == 0


async def test_every_byte_of_bad_input_is_in_its_column() -> None:
    figures = await demo("bad-input", "--secure")
    accounted = figures["bytes_counted"] + figures["bytes_late"] + figures["bytes_unattributed"]
    assert accounted == figures["sampled_bytes_sent"] + figures["injected_bytes"]
    assert figures["unattributed_by_reason"] == figures["injected_unattributed_by_reason"]
    assert set(figures["injected_unattributed_by_reason"]) == {
        "unknown-interface",
        "special-interface",
        "unknown-ingress",
        "unknown-router",
        "unroutable",
        "clock-skew",
        "unknown-sampling-rate",
        "unusual-sampling-rate",
    }
    assert figures["bytes_late"] == figures["injected_bytes_late"] > 0
    assert figures["dead_letters"] == figures["injected_dead_letters"] > 0
    assert figures["crashes"] == figures["overrides_announced"] == 0
