"""`python -m tests.deploy [--json]`: checks the Helm chart; exit code 1 if anything is wrong with it."""

import sys

import msgspec

from tests.deploy.chart import Refused
from tests.deploy.check import run
from tests.deploy.tools import tools


def main() -> int:
    """Print what was checked, and every problem."""
    try:
        report = run(tools())
    except Refused as refusal:
        print(f"helm refuses what is in the chart or in a cluster's folder: {refusal}", file=sys.stderr)
        return 1
    if "--json" in sys.argv[1:]:
        print(msgspec.json.encode(report).decode())
    else:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items()))
        print(f"{sum(report.kinds.values())} objects hold against their schemas: {kinds}")
        print(f"{report.typos_refused} of {report.typos_planted} misspelt keys of objects are refused")
        print(f"{report.mistakes_refused} mistakes in values are refused")
        print("\n".join(report.problems) or "No problems found.")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
