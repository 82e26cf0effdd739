"""The BGP speaker: the protocol that everything else uses, GoBGP 3 and 4 behind it, and a fake in memory.

May import: contract, config, te.routing.
Read: speaker, memory, gobgp, client, blocking, blocking_channel, policy_client, tls, calls, wire,
dialect, proto.
"""
