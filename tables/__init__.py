"""One file per table: its key, its value and the bound on its size. `store` opens and encodes all of them.

May import: contract, config, te, feeds, private_names.
Read: store, link_windows, interfaces, rib, congestion, flow_progress.
"""
