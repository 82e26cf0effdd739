"""The laboratory: real daemons on loopback, a simulated PoP that sends real sFlow and BGP, and the demo on top.

May import: see its parts.
Read: pop, daemons, demo.
"""
