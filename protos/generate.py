"""The Python side of our own gRPC API: `python protos/generate.py [TARGET]`, `make protos`. The result is committed.

Messages only, with their types: what calls and serves them is a line per method, and stubs would want the very gRPC
that made them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).parent
TARGET = PROTOS.parent / "xds"


def main(target: Path) -> None:
    names = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    include = Path(protoc.__file__).parent / "_proto"
    status = protoc.main(
        ["protoc", f"-I{PROTOS}", f"-I{include}", f"--python_out={target}", f"--pyi_out={target}", *names]
    )
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
