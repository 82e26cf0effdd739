"""The routers' own last line: their configuration rendered from the inventory, read back, and judged.

May import: contract, config, bgp.
Read: router_files, statements, judge, frr_config, gobgp_policy, docs.
"""
