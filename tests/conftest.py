"""What holds for every test."""

import signal

from hypothesis import HealthCheck, settings

# A shell's background job ignores SIGINT, and so would every process that a test starts and ends with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On a machine with other work any example may be slow.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
