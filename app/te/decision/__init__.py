"""What to do about it, decided from scratch in every window: which links are congested and which prefixes move.

May import: contract, config, te.cycle_state, te.routing, te.traffic, te.evidence.
Read: cycle, detector, plan, carry_over, relief, allocator, ledger, guards, release, records.
"""
