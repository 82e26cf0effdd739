"""`python -m app` is `autopilot`."""

from app.cli.main import main

main()
