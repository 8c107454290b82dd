"""The mesh's configuration where Istio has it: bare, in a file of its own, or as text in the ConfigMap `istio`.

Either becomes a document of kind MeshConfig that knows where its lines are, so that it is checked, held, kept and told
like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from legation.ingest import documents
from legation.ingest.documents import Document
from legation.model.mesh_config import FROM_CONFIG_MAP, FROM_FLAG
from legation.problems import Problem

API_VERSION: Final = "mesh.istio.io/v1alpha1"
_SPEC: Final = ("spec",)


def unwrapped(found: Iterable[Document], is_mesh_config: bool) -> tuple[list[Document], list[Problem]]:
    """A file's documents with the mesh configurations in them, and what of these cannot be read.

    In a file that `is_mesh_config` what has no kind is one, and so is the content of any ConfigMap with the key `mesh`.
    """
    made: list[Document] = []
    problems: list[Problem] = []
    for document in found:
        if is_mesh_config and not document.value.keys() & {"apiVersion", "kind", "metadata"}:
            made.append(_bare(document, FROM_FLAG))
            continue
        made.append(document)
        text = _in_config_map(document, is_mesh_config)
        if text is not None:
            inner, unread = _inner(document, text, FROM_FLAG if is_mesh_config else FROM_CONFIG_MAP)
            made += inner
            problems += unread
    return made, problems


def _bare(document: Document, name: str) -> Document:
    value = {"apiVersion": API_VERSION, "kind": "MeshConfig", "metadata": {"name": name}, "spec": document.value}
    return replace(document, value=value, around=_SPEC)


def _in_config_map(document: Document, any_name: bool) -> str | None:
    value, meta = document.value, document.value.get("metadata")
    if value.get("kind") != "ConfigMap" or value.get("apiVersion") != "v1" or not isinstance(meta, dict):
        return None
    if not any_name and (meta.get("namespace"), meta.get("name")) != ("istio-system", "istio"):
        return None
    data: Any = value.get("data")
    text = data.get("mesh") if isinstance(data, dict) else None
    return text if isinstance(text, str) else None


def _inner(document: Document, text: str, name: str) -> tuple[list[Document], list[Problem]]:
    """The document in a text inside a document. Written as a block (`mesh: |`), its lines are lines of the file."""
    line, column = document.position(("data", "mesh"))
    rows = document.text.split("\n")
    below = rows[line - document.line_of_text + 1 :]
    first = next((row for row in text.split("\n") if row.strip()), "")
    there = next((row for row in below if row.strip()), "")
    as_block = bool(first) and there.endswith(first)
    margin = len(there) - len(first) if as_block else 0
    reading = documents.read(document.file, text)
    if not reading.documents and not reading.problems:
        return [_bare(replace(document, value={}, text="", line=line, inside=()), name)], []
    if not as_block:
        return (
            [_bare(replace(each, line=line, text="", margin=column - 1), name) for each in reading.documents],
            [replace(problem, line=line, column=column) for problem in reading.problems],
        )
    return (
        [_bare(replace(each, line=each.line + line, margin=margin), name) for each in reading.documents],
        [replace(problem, line=problem.line + line, column=problem.column + margin) for problem in reading.problems],
    )
