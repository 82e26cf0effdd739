"""Kafka, pmacct, GoBGP, FRR and ExaBGP, configured, started and stopped together.

May import: contract, config, kafka, private_names, lab.pop.model, lab.pop.vty.
Read: stack, runner, commands, machine, ports, deployment, certificates, kafka, guard, collectors, gobgp, frr,
exabgp, policy.
"""
