"""What routers would do without our overrides: the paths they hold, the longest match, and the choice of plain BGP.

May import: contract, config, native.
Read: path, rib, interning, lpm, lpm_overlay, bestpath, natural, forwarding, heard.
"""
