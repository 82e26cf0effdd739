"""Whether what we see can be believed: flows against counters, routing against traffic, moves against their effect.

May import: contract, config, te.cycle_state, te.routing, te.traffic.
Read: trust, mismatch, effect.
"""
