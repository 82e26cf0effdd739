"""How far counters are believed: a second reading or the flows of the same seconds must support them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.te.traffic.lag import Rates
from app.te.traffic.level import FlowLevel, Level, level_of, settled_by
from tests.pops import G

FLOWS = FlowLevel(60 * G, 2300)  # +-4.3 %


def rates(carried_g: float | None, low_g: float | None = None, high_g: float | None = None, **changes: object) -> Rates:
    values = {"carried_bps": carried_g, "low_bps": low_g, "high_bps": high_g}
    in_bps = {name: None if value is None else value * G for name, value in values.items()}
    given_rates = {"dropped_bps": 0.0, "received_bps": 0.0, "capacity_bps": 100 * G, "up": True}
    return Rates(**given_rates | in_bps | changes)  # type: ignore[arg-type]


def level(of_rates: Rates, flows: FlowLevel = FLOWS, capacity_g: float | None = 100) -> Level:
    return level_of(of_rates, flows, None if capacity_g is None else capacity_g * G)


@pytest.mark.parametrize(
    ("carried", "low", "high", "expected"),
    [
        pytest.param(60, None, None, 60, id="one reading that flows support"),
        pytest.param(62, None, None, 62, id="within their error"),
        pytest.param(66, None, None, 62.6, id="a little beyond: as far as flows support it"),
        pytest.param(95, None, None, None, id="one reading that nothing supports"),
        pytest.param(95, 94, 95, None, id="two readings in a row: both may be late"),
        pytest.param(95, 60, 61, None, id="two readings that show something else"),
        pytest.param(0, None, None, None, id="nothing counted while flows go on"),
        pytest.param(20, 19, 21, 20, id="two low readings"),
    ],
)
def test_what_is_believed(carried: float, low: float | None, high: float | None, expected: float | None) -> None:
    found = level(rates(carried, low, high)).carried_bps
    assert found == (None if expected is None else pytest.approx(expected * G, rel=0.01))


def test_readings_of_30_s_outbid_flows_that_are_precise() -> None:
    """As far as they surely do, and never beyond what the port can carry."""
    assert level(rates(95, 95, 95, sure_bps=90 * G)).carried_bps is None
    assert level(rates(95, 95, 95, steady_bps=60 * G)).carried_bps is None
    assert level(rates(95, 95, 95, steady_bps=90 * G)).carried_bps == 90 * G
    assert level(rates(119, 119, 119, steady_bps=119 * G)).carried_bps == pytest.approx(110 * G)


def test_readings_in_a_row_outbid_a_few_flows_only_if_they_cannot_be_late() -> None:
    few = FlowLevel(80 * G, 200)  # +-15 %
    assert level(rates(98, 98, 98, sure_bps=84 * G), few).carried_bps == pytest.approx(few.high_bps)
    assert level(rates(98, 98, 98, sure_bps=95 * G), few).carried_bps == 98 * G


def test_octets_that_may_wrap_between_two_readings_say_nothing_where_flows_show_that_much() -> None:
    assert level(rates(4, 4, 4, wraps_bps=62 * G)).carried_bps is None
    assert level(rates(60, 60, 60, wraps_bps=70 * G)).carried_bps == 60 * G


def test_little_is_believed_without_flows() -> None:
    """With few samples nothing contradicts it, and it decides nothing."""
    assert level(rates(4), FlowLevel(0.0, 0)).carried_bps == 4 * G
    assert level(rates(40), FlowLevel(0.0, 0)).carried_bps is None
    assert level(rates(40, 40, 40, sure_bps=34 * G), FlowLevel(0.0, 0)).carried_bps == 40 * G


@pytest.mark.parametrize(
    ("dropped", "dropped_low", "carried", "believed", "unconfirmed"),
    [
        pytest.param(1, 0, 60, 0, 1, id="one reading at 60 %"),
        pytest.param(1, 0.5, 60, 1, 0, id="two readings in a row"),
        pytest.param(1, 0, 95, 1, 0, id="one reading of a link that is full by flows"),
        pytest.param(0, 0, 60, 0, 0, id="none"),
        pytest.param(None, 0, 60, None, 0, id="unknown"),
    ],
)
def test_drops_of_one_reading_are_published_and_not_acted_on(
    dropped: float | None, dropped_low: float, carried: float, believed: float | None, unconfirmed: float
) -> None:
    drops_bps = None if dropped is None else dropped * G
    found = level(
        rates(carried, carried, carried, dropped_bps=drops_bps, dropped_low_bps=dropped_low * G),
        FlowLevel(carried * G, 2300),
    )
    assert (found.dropped_bps, found.unconfirmed_bps) == (None if believed is None else believed * G, unconfirmed * G)


@pytest.mark.parametrize(
    ("configured", "said", "live_share", "expected"),
    [
        pytest.param(100, 100, 1.0, 100, id="both agree"),
        pytest.param(100, 0, 1.0, 100, id="the ports say nothing"),
        pytest.param(100, 400, 1.0, 100, id="a rate below the port's"),
        pytest.param(200, 100, 0.5, 100, id="a member is lost"),
        pytest.param(200, 0, 0.5, 100, id="a member of unknown speed is lost"),
        pytest.param(100, 10, 1.0, 100, id="60 Gb/s do not fit on what the port says"),
        pytest.param(100, 50, 0.5, 100, id="60 Gb/s do not fit on the members that are heard either"),
        pytest.param(None, 400, 1.0, 400, id="auto"),
        pytest.param(None, 0, 1.0, 0, id="auto, and nobody knows"),
    ],
)
def test_capacity_is_the_inventory_s_unless_the_ports_have_less(
    configured: float | None, said: float, live_share: float, expected: float
) -> None:
    of_rates = rates(60, 60, 60, capacity_bps=said * G, live_share=live_share)
    assert level(of_rates, capacity_g=configured).capacity_bps == expected * G


def test_flows_decide_which_port_is_the_lag_where_nothing_else_does() -> None:
    one, two = rates(60, otherwise=rates(120)), rates(120, otherwise=rates(60))
    assert settled_by(one, FLOWS).carried_bps == settled_by(two, FLOWS).carried_bps == 60 * G
    assert settled_by(two, FlowLevel(60 * G, 100)).carried_bps == 60 * G, "which exclude the other"
    assert settled_by(two, FlowLevel(60 * G, 5)).carried_bps == 120 * G, "too few samples to say"
    assert settled_by(two, FlowLevel(0.0, 4000)).carried_bps == 120 * G, "forged samples of frames without a byte"


@given(st.floats(0, 200), st.none() | st.floats(0, 200), st.floats(0, 150), st.integers(0, 5000))
def test_no_level_is_above_what_flows_or_two_readings_show(
    carried: float, low: float | None, flows: float, samples: int
) -> None:
    of_flows = FlowLevel(flows * G if samples else 0.0, samples)
    sure = None if low is None else low * G
    found = level(rates(carried, low, low, sure_bps=sure, steady_bps=sure), of_flows).carried_bps
    assert found is None or found <= max(of_flows.high_bps, 1.05 * (low or 0.0) * G, 10 * G) + 1
