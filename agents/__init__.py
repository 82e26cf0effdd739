"""The Faust agents, one per file: what each reads, what it keeps, and what it does with a record.

May import: contract, config, tables, te, feeds, stream, metrics.
Read: flows, decide, counters, routes, sources, actuate.
"""
