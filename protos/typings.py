"""Typed stubs of Envoy's messages for mypy: `python protos/typings.py typings`.

xds-protos ships modules without types. Its serialised descriptors are all that protoc needs to write them, so this reads
every descriptor that the package registers and asks protoc for `.pyi` files. The result is ignored by git.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_tools import protoc

WANTED = ("envoy/", "xds/", "udpa/", "validate/", "google/rpc/")


def main(target: Path) -> None:
    files = [str(path) for path in distribution("xds-protos").files or [] if str(path).endswith("_pb2.py")]
    names: list[str] = []
    for path in sorted(files):
        if not path.startswith(WANTED):
            continue
        try:
            importlib.import_module(path.removesuffix(".py").replace("/", "."))
        except (ImportError, TypeError):
            continue  # a contrib module whose own imports are not shipped
        names.append(path.removesuffix("_pb2.py") + ".proto")
    pool, seen, closure = descriptor_pool.Default(), set[str](), descriptor_pb2.FileDescriptorSet()

    def add(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        found = pool.FindFileByName(name)
        for needed in found.dependencies:
            add(needed.name)
        found.CopyToProto(closure.file.add())

    for name in names:
        add(name)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".binpb") as descriptors:
        descriptors.write(closure.SerializeToString())
        descriptors.flush()
        status = protoc.main(["protoc", f"--descriptor_set_in={descriptors.name}", f"--pyi_out={target}", *names])
    if status:
        raise SystemExit(status)
    for package in ("envoy", "xds", "udpa", "validate"):
        for folder in [target / package, *(p for p in (target / package).rglob("*") if p.is_dir())]:
            (folder / "__init__.pyi").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
