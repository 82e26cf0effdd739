"""`python -m app` is `autopilot`. The reaper is started without the rest, to stay small."""

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["reaper"]:
        from app.cli.reap import reaper

        reaper(sys.argv[2:], prog_name="autopilot reaper")
    else:
        from app.cli.main import main as command_line

        command_line()


if __name__ == "__main__":
    main()
