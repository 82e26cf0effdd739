"""Traffic engineering in five storeys. Pure functions: no I/O, no clock, no Faust.

Each storey may import those below it, contract and config.
Read: cycle_state, routing, traffic, evidence, decision, explain.
"""
