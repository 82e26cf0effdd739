"""The product in virtual time: a scheduler drawn from a seed, faults, and invariants that are checked all along.

May import anything below it.
Read: play, run, loop, worker, broker, telemetry, actuator, network, collectors, faults, invariants, oracle, ending,
campaign, report.
"""
