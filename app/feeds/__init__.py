"""From the records of collectors to our sums: decoders of flows, counters and BMP, and where every byte is counted.

May import: contract, config, te.routing, te.traffic, native.
Read: flows, columns, scan, batches, attribution, placing, accounting, flow_notices, counters, as_path, bmp,
bmp_identity, bmp_clocks, bmp_order, bmp_memory, bmp_renames, bmp_sessions, stale_paths, rib_feed,
bmp_notices, rejected.
"""
