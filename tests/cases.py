"""The golden cases as values, for every test that looks at all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from legation import names, pipeline
from legation.ingest.documents import split
from legation.ingest.files import RawFile, RootState, Tree, read_tree
from legation.model.proxy import GATEWAY_LABELS, Capture, Client, Locality, Proxy, Role, labels
from legation.model.world import Mesh
from legation.pipeline import Compiled
from legation.render import printed
from legation.snapshot.snapshot import Snapshot

GOLDEN = Path(__file__).parent / "golden"
STORIES = tuple(sorted(path for path in (Path(__file__).parent.parent / "configs").iterdir() if path.is_dir()))
"""The folders of `configs/`."""
TABLES = {
    "listeners": names.LISTENER,
    "routes": names.ROUTE,
    "clusters": names.CLUSTER,
    "endpoints": names.ENDPOINT,
    "secrets": names.SECRET,
}
OUTPUTS = (*(f"{table}.yaml" for table in TABLES), "problems.yaml")


@dataclass(frozen=True)
class Case:
    """One folder of `golden/`."""

    folder: Path

    def __str__(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    def read(self, name: str) -> Any:
        path = self.folder / name
        return yaml.safe_load(path.read_text()) or [] if path.exists() else []

    @property
    def files(self) -> dict[str, str]:
        return {"input.yaml": (self.folder / "input.yaml").read_text()}

    def a_file_per_document(self, *, reverse: bool = False) -> dict[str, str]:
        """The same documents, each in a file of its own; `reverse` turns the order of the files' names around too."""
        parts = [part for _, part in split(self.files["input.yaml"])]
        parts = parts[::-1] if reverse else parts
        return {f"{number:03}.yaml": part for number, part in enumerate(parts)}

    @property
    def proxy(self) -> Proxy:
        """Who asks. `role` alone is enough: a gateway of Istio's label, or a sidecar, in namespace `default`."""
        return proxy(self.read("proxy.yaml"))

    @property
    def mesh(self) -> Mesh:
        return Mesh(deployments_are_hosts=self.read("proxy.yaml").get("deployments") == "dns")

    @staticmethod
    def tables(snapshot: Snapshot) -> dict[str, list[dict[str, Any]]]:
        """The bare messages by type, sorted by name."""
        return {
            table: [printed.message(found) for _, found in sorted(snapshot.of(url).items())]
            for table, url in TABLES.items()
        }


def proxy(written: dict[str, Any]) -> Proxy:
    role = Role(written["role"])
    own = written.get("labels", GATEWAY_LABELS if role is Role.GATEWAY else {})
    return Proxy(
        id="golden", role=role, namespace=written.get("namespace", "default"), name=written.get("name", "golden"),
        ip=written.get("ip", ""), labels=labels(own),
        capture=Capture(written.get("capture", "none")), bind=written.get("bind", "127.0.0.1"),
        locality=Locality.parse(written.get("locality", "")),
        port_map=tuple(sorted(written.get("port_map", {}).items())), client=Client(written.get("client", "envoy")),
    )  # fmt: skip


def tree(files: dict[str, str]) -> Tree:
    """Files that are nowhere on a disk."""
    return Tree({path: RawFile(path, text) for path, text in files.items()}, {}, (), {"": RootState.FINE})


@cache
def _compiled(case: Case) -> Compiled:
    return pipeline.compile(tree(case.files), case.proxy, case.mesh)


def compiled(case: Case, files: dict[str, str] | None = None) -> Compiled:
    """A case, compiled; from other files than its own if they are given."""
    return _compiled(case) if files is None else pipeline.compile(tree(files), case.proxy, case.mesh)


@cache
def story(folder: Path, role: str) -> Compiled:
    """A folder of `configs/`, for a proxy as `legation run` starts it."""
    who = proxy({"role": role, "port_map": {80: 8080, 443: 8443}})
    return pipeline.compile(read_tree([str(folder)]), who, Mesh(deployments_are_hosts=True))


CASES = tuple(Case(path.parent) for path in sorted(GOLDEN.glob("*/*/input.yaml")))
