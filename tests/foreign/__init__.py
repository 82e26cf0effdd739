"""A small PoP whose edges are other people's software: Open vSwitch, sfprobe, FRR and BIRD under our agents.

It lives in a network namespace of its own, so it needs root. Read: host, wires, openvswitch, bird, rig, story.
"""
