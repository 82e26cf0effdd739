"""The time line of demand: calm, a ramp up, the surge, a ramp down."""

import msgspec


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A surge on one link, in seconds since the start. `peak_share` is its natural load at the top, of capacity."""

    link: str = "r1/et-0/0/1"  # router/name
    calm_s: float = 30.0
    ramp_s: float = 10.0
    surge_until_s: float = 150.0
    peak_share: float = 1.25

    @property
    def ends_s(self) -> float:
        """When demand is back to calm."""
        return self.surge_until_s + self.ramp_s

    def intensity(self, at_s: float) -> float:
        """0 in calm times, 1 at the top, linear on the ramps."""
        rise = (at_s - self.calm_s) / self.ramp_s
        fall = (self.ends_s - at_s) / self.ramp_s
        return min(max(min(rise, fall), 0.0), 1.0)

    def multiplier(self, at_s: float, base_share: float) -> float:
        """What the demand of the surged prefixes is multiplied by; `base_share` is the link's calm natural load."""
        return 1 + self.intensity(at_s) * (self.peak_share / base_share - 1)
