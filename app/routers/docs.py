"""Writes deploy/routers: what `autopilot render routers` makes of the example in docs/operator/own-network.md.

Run it with `python -m app.routers.docs`.
"""

import re
import tempfile
from pathlib import Path

from app.config.inventory import Pop, load_pop
from app.routers.router_files import INJECTOR, PLATFORMS, Collector, injector_config, router_config

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "operator" / "own-network.md"
FOLDER = ROOT / "deploy" / "routers"
COLLECTOR = Collector("198.51.100.53", 1790)


def example() -> Pop:
    """The PoP of the page: its first example of TOML."""
    found = re.search(r"```toml\n(.*?)```", EXAMPLE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"{EXAMPLE} has no inventory"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ams1.toml"
        path.write_text(found[1], encoding="utf-8")
        return load_pop(path)


def files(pop: Pop) -> dict[str, str]:
    """The text of each file by name, for the first router of this PoP."""
    router = pop.router[0]
    rendered = {name: router_config(pop, router, platform, COLLECTOR) for platform, name in PLATFORMS.items()}
    return rendered | {INJECTOR: injector_config(pop, router)}


if __name__ == "__main__":
    for name, text in files(example()).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
