"""How long the tests of each directory may take: a pytest plugin that prints this table with what they took.

A budget is the sum of its tests' own seconds (setup included) in `make test` on two quiet cores. It is
a yardstick for whoever adds tests, and never fails a run: a busy machine would.
"""

from collections import defaultdict

import pytest
from _pytest.terminal import TerminalReporter

BUDGETS_S = {
    "tests/agents": 10,
    "tests/cases": 300,
    "tests/app": 10,
    "tests/app/actuation": 30,
    "tests/app/bgp": 30,
    "tests/app/cli": 15,
    "tests/app/config": 5,
    "tests/app/contract": 5,
    "tests/app/feeds": 40,
    "tests/app/kafka": 5,
    "tests/app/lab": 150,
    "tests/app/native": 5,
    "tests/app/simulation": 360,
    "tests/app/stream": 20,
    "tests/app/te": 120,
    "tests/app/web": 10,
    "tests/deploy": 90,
    "tests/faults": 10,
    "tests/fuzz": 60,
    "tests/leaks": 90,
    "tests/foreign": 150,
    "tests/integration": 3000,
    "tests/long": 600,
    "tests/systemd": 10,
    "tests/tables": 15,
    "tests": 40,
}


def directory_of(nodeid: str) -> str:
    """The innermost directory with a budget that holds a test."""
    path = nodeid.partition("::")[0]
    return max((name for name in BUDGETS_S if path.startswith(f"{name}/")), key=len)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print what each directory took of its budget; nothing for a handful of tests."""
    took_s: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                directory = directory_of(report.nodeid)
                took_s[directory] += report.duration
                counts[directory] += report.when == "call"
    if sum(counts.values()) < 100:
        return
    terminalreporter.section("seconds by directory, of their budgets")
    for name, budget_s in BUDGETS_S.items():
        if counts[name]:
            over = "  over" if took_s[name] > budget_s else ""
            terminalreporter.line(f"{name:24} {counts[name]:5} tests {took_s[name]:7.0f} of {budget_s:4} s{over}")
