"""One table a file: its key, its value, its bound on size. All are opened and encoded by store.

May import: contract, config, te, feeds.
Read: store, link_windows, interfaces, rib, congestion.
"""
