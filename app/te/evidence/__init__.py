"""Whether the measurements can be trusted: flows against counters, routing against traffic, moves against their effect.

May import: contract, config, te.cycle_state, te.routing, te.traffic.
Read: trust, mismatch, effect, renumbering, counter_notices.
"""
