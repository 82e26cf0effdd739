"""Flux itself, on a real API server, reading `deploy/flux` from a git server: `make gitops`."""
