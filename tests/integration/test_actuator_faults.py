"""What must never happen again: each row of the actuator's faults once, on real daemons (docs/operator/faults.md)."""

import pytest

from tests.faults.actuator.rows import ROUTE_FAULTS, RouteFault, run_route_fault

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]


@pytest.mark.parametrize("fault", [fault for fault in ROUTE_FAULTS if fault.short_times], ids=lambda fault: fault.name)
async def test_no_route_is_stale_and_none_leaks(fault: RouteFault) -> None:
    outcome = await run_route_fault(fault, fault.short_times, seed=1, say=print)
    assert outcome.ok, outcome
