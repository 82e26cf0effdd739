"""Regenerate the committed Python of our GoBGP messages: `python -m tests.app.bgp.generate`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROTOS = ("app/bgp/proto/gobgp.proto", "app/bgp/proto/policy.proto")
GENERATED = tuple(proto.replace(".proto", suffix) for proto in PROTOS for suffix in ("_pb2.py", "_pb2.pyi"))


def generate(into: Path) -> None:
    """Write the generated files under `into`; the module path is part of the content."""
    arguments = [f"-I{ROOT}", f"--python_out={into}", f"--pyi_out={into}", *PROTOS]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)


if __name__ == "__main__":
    generate(ROOT)
