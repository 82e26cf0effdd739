"""Regenerate the committed Python of our GoBGP messages: `python -m tests.app.bgp.generate`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROTO = "app/bgp/proto/gobgp.proto"
GENERATED = ("app/bgp/proto/gobgp_pb2.py", "app/bgp/proto/gobgp_pb2.pyi")


def generate(into: Path) -> None:
    """Write the generated files under `into`; the module path is part of the content."""
    arguments = [f"-I{ROOT}", f"--python_out={into}", f"--pyi_out={into}", PROTO]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)


if __name__ == "__main__":
    generate(ROOT)
