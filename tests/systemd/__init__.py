"""The units in deploy/systemd: read by systemd's own tools, and run by a real systemd."""
