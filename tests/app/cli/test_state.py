"""`autopilot state reset`: what it sets aside, what it asks, and when it refuses."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from app.config.settings import Kafka
from app.errors import DaemonError
from app.kafka import admin
from app.lab.daemons.ports import free_port
from app.stream.local_state import is_in_use
from tests.app.cli.test_main import deployment
from tests.app.stream.test_local_state import held, local

TABLES = "data/autopilot-telemetry-rhv1000/v1/tables"


class Cell:
    """A cell with two tables on this host; `broker` notes what is asked of Kafka."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        nobody = f"127.0.0.1:{free_port()}"
        self.config = deployment(folder, f'data_dir = "data"\n[kafka]\nbroker = "{nobody}"')
        self.tables = folder / TABLES
        for name in ("rib-0.db", "congestion-0.db"):
            (self.tables / name).mkdir(parents=True)
        (self.tables / "rib-backups").mkdir()
        self.broker: list[str] = []
        self.members = False
        monkeypatch.setattr(admin, "delete_group", self._delete_group)
        monkeypatch.setattr(admin, "delete_changelogs", self._delete_changelogs)

    async def _delete_group(self, kafka: Kafka, group: str) -> bool:
        if self.members:
            raise DaemonError(f"group {group} has members: stop its workers first")
        self.broker.append(group)
        return True

    async def _delete_changelogs(self, kafka: Kafka, app_id: str) -> list[str]:
        self.broker.append(f"{app_id}-rib-changelog")
        return self.broker[1:]

    def reset(self, *arguments: str, answer: str = "") -> Result:
        command = ["state", "reset", "--config", self.config, *(arguments or ("--cell", "rhv1000"))]
        return CliRunner().invoke(main, command, input=answer)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.tables.iterdir() if path.suffix == ".db")


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cell:
    return Cell(tmp_path, monkeypatch)


def test_the_local_tables_are_set_aside_and_the_broker_is_not_asked(cell: Cell) -> None:
    result = cell.reset("--cell", "rhv1000", "--yes", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout.splitlines()[-1])
    assert [Path(path).name.split(".set-aside-")[0] for path in document.pop("set_aside")] == [
        "congestion-0.db",
        "rib-0.db",
    ]
    assert document == {"ok": True, "deleted_group": None, "deleted_topics": []}
    assert cell.left() == []
    assert len(list(cell.tables.iterdir())) == 3, "they are renamed, and nothing else is touched"
    assert cell.broker == []
    assert cell.reset("--cell", "rhv1000", "--yes").stdout == "There was no state.\n"


def test_from_inputs_deletes_the_group_and_the_changelogs(cell: Cell) -> None:
    result = cell.reset("--cell", "rhv1000", "--from-inputs", "--yes")
    assert result.exit_code == 0
    assert cell.broker == ["autopilot-telemetry-rhv1000", "autopilot-telemetry-rhv1000-rib-changelog"]
    assert cell.left() == []
    assert result.stdout.splitlines()[-2:] == [
        "deleted the group autopilot-telemetry-rhv1000 and its commits",
        "deleted the topic autopilot-telemetry-rhv1000-rib-changelog",
    ]


def test_nothing_changes_while_the_group_has_members(cell: Cell) -> None:
    cell.members = True
    result = cell.reset("--cell", "rhv1000", "--from-inputs", "--yes", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout.splitlines()[-1]) == {
        "ok": False,
        "error": "group autopilot-telemetry-rhv1000 has members: stop its workers first",
        "problems": [],
    }
    assert cell.left() == ["congestion-0.db", "rib-0.db"]
    assert cell.broker == []


def test_nothing_changes_while_a_worker_of_this_host_runs(cell: Cell) -> None:
    at = local(cell.tables)
    with held(at):
        assert is_in_use(at.folder)
        result = cell.reset("--cell", "rhv1000", "--from-inputs", "--yes")
    assert result.exit_code == 1
    assert "sums-0.db: a worker has it open" in result.stderr
    assert cell.left() == ["congestion-0.db", "rib-0.db", "sums-0.db"]
    assert cell.broker == []


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 2), ("", 1, 2)])
def test_a_person_is_asked(cell: Cell, answer: str, code: int, left: int) -> None:
    result = cell.reset(answer=answer)
    assert result.exit_code == code
    assert "Rebuild the state of autopilot-telemetry-rhv1000 from its changelogs. Continue?" in result.stderr
    assert len(cell.left()) == left


@pytest.mark.parametrize("arguments", [("--cell", "nowhere", "--yes"), ("--cell", "rhv1000", "--json"), ("--yes",)])
def test_wrong_usage(cell: Cell, arguments: tuple[str, ...]) -> None:
    result = cell.reset(*arguments)
    assert result.exit_code == 2
    assert len(cell.left()) == 2


def test_another_instance_and_the_actuator_have_their_own_state(cell: Cell) -> None:
    for arguments in (("--instance", "b"), ("--process", "actuator")):
        assert cell.reset("--cell", "rhv1000", "--yes", *arguments).stdout == "There was no state.\n"
    assert len(cell.left()) == 2
