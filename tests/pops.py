"""Inventories for tests: the demo's PoP, and changes to it."""

import tomllib
from pathlib import Path
from string import Template

from app.config.inventory import Pop
from app.config.toml import convert

INVENTORY = Path(__file__).parents[1] / "deploy" / "local" / "rhv1000.toml"


def demo_pop() -> Pop:
    """The demo's PoP with sockets in a directory that nobody uses."""
    text = Template(INVENTORY.read_text(encoding="utf-8")).substitute(run_dir="/nonexistent")
    problems: list[str] = []
    pop = convert(tomllib.loads(text), Pop, "rhv1000.toml", problems)
    assert pop is not None, problems
    return pop
