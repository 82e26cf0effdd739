"""The times of the actuator."""

import msgspec


class Timing(msgspec.Struct, frozen=True):
    """The times of the actuator, in seconds.

    `confirm_s` is how long a router whose speaker and session are up may take to show a route. `refresh_s` is how often
    the attributes of an override may follow those of its live path. `doubt_lease_s` is how long overrides stay whose
    exit's router is doubted: 30 s, less what it takes to withdraw all of them.
    """

    lease_s: float = 300.0
    confirm_s: float = 20.0
    bar_s: float = 60.0
    tick_s: float = 1.0
    list_every_s: float = 2.0
    refresh_s: float = 10.0
    doubt_lease_s: float = 25.0


DEFAULT_TIMING = Timing()
