"""The product in virtual time: a seeded scheduler, injected faults, and invariants that are checked throughout.

May import anything below it.
Read: play, run, signers, loop, worker, broker, telemetry, actuator, network, collectors, faults, invariants, oracle,
ending, campaign, report.
"""
