"""A Kubernetes cluster of two nodes on this machine, without a container engine: `make cluster`.

Everything runs in namespaces of its own, and ends with the command, whatever ends that.
"""
