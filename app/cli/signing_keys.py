"""`autopilot keys`: makes the keys that decisions and orders are signed with, and shows their public part."""

from pathlib import Path

import click

from app.cli.options import json_option
from app.cli.output import print_json
from app.config.key_files import make_key, read_key
from app.config.trusted_keys import KINDS
from app.contract.signing import Kind, Signer

signs_option = click.option("--signs", type=click.Choice(KINDS), required=True, help="What it is to sign.")
file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def keys() -> None:
    """Make and show the keys that decisions (telemetry) and orders (operators) are signed with."""


@keys.command()
@file_argument
@signs_option
@json_option
def new(file: Path, signs: Kind, as_json: bool) -> None:
    """Make a private key in FILE, which must not be there yet, and print what trusts it.

    Only you can read FILE; it stays on the host that signs. Put what is printed into the settings of every host.
    """
    _print(file, make_key(file), signs, as_json)


@keys.command()
@file_argument
@signs_option
@json_option
def show(file: Path, signs: Kind, as_json: bool) -> None:
    """Print what trusts the private key in FILE."""
    _print(file, read_key(file), signs, as_json)


def _print(file: Path, signer: Signer, signs: Kind, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file), "id": signer.key_id, "public": signer.public_text, "signs": [signs]})
        return
    click.echo(
        f"# {signer.key_id}: `signing.{signs}_key_file` where it signs; everywhere:\n"
        f'[[trust.key]]\nname = "{file.stem}"\npublic = "{signer.public_text}"\nsigns = ["{signs}"]'
    )
