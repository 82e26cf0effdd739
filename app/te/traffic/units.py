"""How rates and shares are written, for links of 10 Mb/s as for those of 400 Gb/s; app/web/static/text.js agrees."""

UNITS = ("b/s", "kb/s", "Mb/s", "Gb/s", "Tb/s")
UNKNOWN = "unknown"


def bits(bps: float | None) -> str:
    """A rate with three digits in the unit that fits, such as 12.3 Mb/s; None is unknown, which is not 0."""
    if bps is None:
        return UNKNOWN
    value, unit = bps, 0
    while abs(value) >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f} {UNITS[unit]}"


def percent(share: float | None) -> str:
    """A share in percent; None is unknown."""
    return UNKNOWN if share is None else f"{share:.1%}"


def of_capacity(bps: float | None, capacity_bps: float | None) -> str:
    """A load as a share of capacity; None is unknown."""
    return percent(bps / capacity_bps if bps is not None and capacity_bps else None)
