"""The page of the command line is what the commands say."""

from app.cli.docs import PAGE, page
from app.cli.main import main


def test_the_page_is_that_of_the_commands() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"


def test_every_command_and_option_is_explained() -> None:
    for name, command in main.commands.items():
        assert command.help, name
        assert all(option.help for option in command.params if hasattr(option, "help")), name
