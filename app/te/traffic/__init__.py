"""The traffic of a window and where it goes: demand by prefix, counters by port, and the four loads of a link.

May import: contract, config, te.cycle_state, te.routing.
Read: grid, premises, windows, writers, unplaced, rates, demand, port, counters, lag, level, link, observed,
egress_index, placement, shares, matrix, loads, coverage, units.
"""
