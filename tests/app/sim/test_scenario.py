"""The time line of demand."""

import pytest

from app.sim.scenario import Scenario


@pytest.mark.parametrize(
    ("at_s", "intensity"),
    [(0, 0), (30, 0), (35, 0.5), (40, 1), (90, 1), (150, 1), (155, 0.5), (160, 0), (500, 0)],
)
def test_intensity(at_s: float, intensity: float) -> None:
    assert Scenario().intensity(at_s) == pytest.approx(intensity)


def test_the_top_of_the_surge_is_the_share_asked_for() -> None:
    surge = Scenario(peak_share=1.25, calm_s=5, ramp_s=1, surge_until_s=20)
    assert surge.multiplier(10, base_share=0.7) * 0.7 == pytest.approx(1.25)
    assert surge.multiplier(0, base_share=0.7) == 1
    assert surge.ends_s == 21
