"""Our exceptions, by how broadly a caller wants to catch, and the exit codes of a worker that ends itself.

AutopilotError
 +- ConfigError        every mistake of a configuration, listed
 +- EnvironmentProblem the machine lacks a port, binary or disk
 +- DaemonError        a daemon did not come up, or did not answer as it should
 +- SpeakerError       the BGP daemon refused an operation or cannot be reached
 +- ExactnessError     going on would lose data or count it twice: the process must end and start again
 +- RowFormatError     rows were written by another version of the product: a person must choose what to do
"""

from collections.abc import Sequence

ENDED_ITSELF = 70  # EX_SOFTWARE, exit code of a worker whose supervisor is to start it again, from the last commit
CRASHED = 1  # a worker whose app crashed, or that cannot start: its supervisor tries again
FROZEN = 75  # EX_TEMPFAIL, the same for a worker that was frozen for more than half its session with the broker


class AutopilotError(Exception):
    """Base of all our errors; the message says what is wrong and what to do."""


class ConfigError(AutopilotError):
    """One or more mistakes in settings or inventory; `problems` lists all of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(f"- {problem}" for problem in self.problems))


class EnvironmentProblem(AutopilotError):
    """The machine lacks something: a binary, a free port, disk."""


class DaemonError(AutopilotError):
    """A daemon, such as the Kafka broker, did not come up or did not answer as it should."""


class SpeakerError(AutopilotError):
    """The BGP speaker cannot be reached or refused an operation."""


class ExactnessError(AutopilotError):
    """Counts would become wrong: the process must end, and its supervisor starts it again from the last commit."""


class RowFormatError(AutopilotError):
    """A row has a format that this version of the product does not read, so another start would not help either."""
