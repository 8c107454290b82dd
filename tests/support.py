"""docs/support.md: what becomes of every field of every kind, and the golden case that shows it.

The verdicts are the marks in the models (`model/base.py`). A field that counts as in force must be shown: taken out of
the input of some golden case, it changes what is rendered. `make support` writes the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cases import CASES, Case, compiled
from legation.ingest.kinds import KINDS, Kind
from legation.ingest.marks import Part, Plan, Shape, plan
from legation.model.metadata import Metadata

PAGE = Path(__file__).parents[1] / "docs" / "support.md"

SPELLED_OUT_ONCE = 8
"""A message with more fields than this, all that is in it counted, is spelled out once for each kind."""


@dataclass(frozen=True, slots=True)
class Row:
    """A field of some kinds; `path` is what it is called in a document, with [] for any item and {} for any name."""

    kinds: tuple[str, ...]
    path: tuple[str, ...]
    verdict: str
    counts: bool
    """Whether it is in force, so that a case must show it."""

    @property
    def field(self) -> str:
        return ".".join(self.path).replace(".[]", "[]").replace(".{}", "{}")


# --- fields -------------------------------------------------------------------------------------------------------


def sections() -> list[tuple[tuple[Kind, ...], list[Row]]]:
    """Every kind that has fields for us, those with the same fields together."""
    together: dict[Any, list[Kind]] = {}
    for kind in KINDS:
        together.setdefault(kind.model or kind.identity, []).append(kind)
    return [(tuple(kinds), rows(tuple(kinds))) for kinds in together.values()]


def rows(kinds: tuple[Kind, ...]) -> list[Row]:
    first = kinds[0]
    if first.model is None or not first.supported:
        return []
    root = () if first.beside else ("spec",)
    return list(_rows(tuple(kind.name for kind in kinds), plan(first.model), root, {}))


def metadata() -> list[Row]:
    every = tuple(kind.name for kind in KINDS if kind.supported)
    return list(_rows(every, plan(Metadata), ("metadata",), {}))


def _rows(kinds: tuple[str, ...], here: Plan, path: tuple[str, ...], seen: dict[int, str]) -> Iterator[Row]:
    for alias, part in here.parts.items():
        row = Row(kinds, (*path, alias), *_verdict(part))
        below = (*row.path, *_STEPS[part.shape]) if part.child is not None else row.path
        if not row.counts or part.child is None:
            yield row
        elif id(part.child) in seen:
            yield Row(kinds, row.path, f"{row.verdict}: as `{seen[id(part.child)]}`", counts=True)
        else:
            yield row
            if _size(part.child) > SPELLED_OUT_ONCE:
                seen[id(part.child)] = row.field
            yield from _rows(kinds, part.child, below, seen)


_STEPS = {Shape.ONE: (), Shape.LIST: ("[]",), Shape.MAP: ("{}",)}


def _size(here: Plan) -> int:
    return sum(1 + (_size(part.child) if part.child is not None else 0) for part in here.parts.values())


def _verdict(part: Part) -> tuple[str, bool]:
    if part.not_yet is not None and (part.idle is not None or not part.not_yet.values):
        return f"no{f': {part.not_yet.means}' if part.not_yet.means else ''}", False
    if part.idle is not None:
        return f"means nothing: {part.idle.why}", False
    said = "yes"
    if part.not_yet is not None:
        said = f"partly: not {', '.join(sorted(part.not_yet.values))} ({part.not_yet.means})"
    elif part.partly is not None:
        said = f"partly: not {part.partly.but}"
    if part.deprecated is not None:
        values = f"{', '.join(sorted(part.deprecated.values))} " if part.deprecated.values else ""
        said += f"; {values}deprecated, use `{part.deprecated.instead}`"
    return said, True


# --- what shows them ----------------------------------------------------------------------------------------------


@cache
def documents(case: Case) -> tuple[Any, ...]:
    return tuple(part for part in yaml.load_all(case.files["input.yaml"], yaml.CSafeLoader) if part is not None)


def without(value: Any, path: tuple[str, ...]) -> tuple[Any, bool]:
    """A value without what is at a path, wherever that leads; and whether there was something."""
    step, *rest = path
    if step == "[]":
        taken = [without(item, tuple(rest)) for item in value] if isinstance(value, list) else []
        return [item for item, _ in taken] if taken else value, any(found for _, found in taken)
    if not isinstance(value, dict):
        return value, False
    if step == "{}":
        each = {name: without(item, tuple(rest)) for name, item in value.items()}
        return {name: item for name, (item, _) in each.items()}, any(found for _, found in each.values())
    if step not in value:
        return value, False
    if not rest:
        return {name: item for name, item in value.items() if name != step}, True
    inner, found = without(value[step], tuple(rest))
    return {**value, step: inner}, found


def shows(case: Case, row: Row) -> bool:
    """Whether the case renders something else if the field is taken out of its input."""
    stripped = [
        without(document, row.path) if document.get("kind") in row.kinds else (document, False)
        for document in documents(case)
    ]
    if not any(found for _, found in stripped):
        return False
    files = {"input.yaml": "\n---\n".join(json.dumps(document) for document, _ in stripped)}
    return _bodies(compiled(case, files)) != _bodies(compiled(case))


def _bodies(made: Any) -> Any:
    return {url: {name: found.body for name, found in table.items()} for url, table in made.snapshot.resources.items()}


def proof(row: Row, before: str) -> str:
    """What shows a field that is in force: the case that is named already, as long as it does; empty if nothing does."""
    named = sorted(CASES, key=lambda case: (str(case) != before, not _kinship(case, row), str(case)))
    return next((str(case) for case in named if shows(case, row)), "")


def _kinship(case: Case, row: Row) -> bool:
    """Whether the name of a case has to do with a field: words of both begin alike."""
    words = {word.lower() for step in row.path for word in re.findall(r"[A-Z]?[a-z]+", step) if len(word) > 3}
    return any(mine.startswith(word[:4]) for word in words for mine in re.split("[-/]", str(case)))


# --- the page -----------------------------------------------------------------------------------------------------

INTRODUCTION = """\
# What is in force

Every field of every kind that is known, by its name in a document. *Shown by* names the case below
[tests/golden/](../tests/golden) that renders something else if the field is taken out of it. Using a field that is not
in force gets a warning with its line (LEG0301, LEG0303); a kind without a table here is known by name only, and told.
`make support` writes this page from the marks in [xds/legation/model/](../xds/legation/model).

"""


def written() -> dict[tuple[str, str], str]:
    """What the page says now: title and field to what shows it."""
    found: dict[tuple[str, str], str] = {}
    title = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else ():
        if line.startswith("## "):
            title = line.removeprefix("## ")
        elif line.startswith("| `"):
            field, _, case = (cell.strip() for cell in line.strip("|").split(" | "))
            found[title, field.strip("`")] = case
    return found


@cache
def page() -> tuple[str, tuple[str, ...]]:
    """The page, and the fields in force that nothing shows."""
    before = written()
    text, bare = [INTRODUCTION], []
    tables = [("Metadata of every kind", "", metadata())]
    names = []
    for kinds, fields in sections():
        title = ", ".join(kind.identity for kind in kinds)
        if fields:
            tables.append((title, (kinds[0].model.__doc__ or "").strip() if kinds[0].model else "", fields))
        else:
            names.append((title, kinds[0]))
    for title, about, fields in tables:
        text.append(f"## {title}\n\n{about}\n\n" if about else f"## {title}\n\n")
        text.append("| field | in force | shown by |\n|---|---|---|\n")
        for row in fields:
            case = proof(row, before.get((title, row.field), "")) if row.counts else ""
            if row.counts and not case:
                bare.append(f"{title} {row.field}")
            text.append(f"| `{row.field}` | {row.verdict} | {case} |\n")
        text.append("\n")
    text.append("## Known by name\n\n")
    for title, kind in names:
        what = "read; its metadata counts" if kind.supported else "no: it protects, so using it is an error"
        text.append(f"- {title}: {what if kind.supported or kind.protects else 'no: using it gets a warning'}\n")
    return "".join(text), tuple(bare)
