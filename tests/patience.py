"""How long a test waits for what must come: only to end one that would wait for ever, never to measure the machine."""

PATIENCE_S = 300.0
