"""docs/conformance.md: what an xDS server must do, check by check, and the tests that show it.

The checks are in `checks.yaml`; a test belongs to those that its name begins with (`test_T_01_T_02_…`), wherever below
tests/ it is. `make conformance` writes the page.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

HERE = Path(__file__).parent
TESTS = HERE.parent
PAGE = TESTS.parent / "docs" / "conformance.md"
LEVELS = ("MUST", "SHOULD", "MAY")
_NAMED = re.compile(r"test_((?:(?:R_[A-Z]+_\d|[A-Z]_\d\d)_)+)")
_ID = re.compile(r"R_[A-Z]+_\d|[A-Z]_\d\d")


@dataclass(frozen=True)
class Check:
    """One line of the list."""

    id: str
    level: str
    says: str
    tests: tuple[str, ...]
    why: str

    @property
    def is_bare(self) -> bool:
        """It counts, and nothing is said of it."""
        return self.level != "MAY" and not self.tests and not self.why


@cache
def tests() -> dict[str, tuple[str, ...]]:
    """Every test below tests/, by file and name, and the checks in its name."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                named = _NAMED.match(node.name)
                ids = tuple(one.replace("_", "-") for one in _ID.findall(named[1])) if named else ()
                found[f"{path.relative_to(TESTS.parent)}::{node.name}"] = ids
    return found


@cache
def sections() -> dict[str, list[Check]]:
    """The list, with the tests that there are. Raises KeyError for a test that is listed and does not exist."""
    listed = yaml.safe_load((HERE / "checks.yaml").read_text(encoding="utf-8"))
    return {title: [_check(name, *row) for name, row in rows.items()] for title, rows in listed.items()}


def _check(name: str, level: str, says: str, more: dict[str, object] | None = None) -> Check:
    elsewhere = (more or {}).get("tests", ())
    assert isinstance(elsewhere, list | tuple)
    if unknown := [one for one in elsewhere if one not in tests()]:
        raise KeyError(f"{name} names tests that do not exist: {', '.join(unknown)}")
    named = [test for test, ids in tests().items() if name in ids]
    return Check(name, level, says, tuple(dict.fromkeys([*named, *elsewhere])), str((more or {}).get("why", "")))


INTRODUCTION = """\
# Conformance

What a management server of Envoy's xDS protocol must do, as a list of checks, and the tests that show that this one
does it. Every test that is named here runs with every change; one that fails keeps the change out. Where there is no
test it is said why. `make conformance` writes this page from the list in
[tests/conformance/checks.yaml](../tests/conformance/checks.yaml) and the names of the tests.

"""


def page() -> str:
    """The page."""
    every = [check for checks in sections().values() for check in checks]
    text = [INTRODUCTION, "| level | checks | with a test | with a reason instead |\n|---|---|---|---|\n"]
    for level in LEVELS:
        of = [check for check in every if check.level == level]
        tested = sum(bool(check.tests) for check in of)
        text.append(f"| {level} | {len(of)} | {tested} | {len(of) - tested} |\n")
    for title, checks in sections().items():
        text.append(f"\n## {title}\n\n| check | level | what | shown by |\n|---|---|---|---|\n")
        text += (f"| {one.id} | {one.level} | {one.says} | {_shown(one)} |\n" for one in checks)
    return "".join(text)


def _shown(check: Check) -> str:
    if not check.tests:
        return f"no test: {check.why}"
    by_file: dict[str, list[str]] = {}
    for test in check.tests:
        file, _, name = test.partition("::")
        by_file.setdefault(file, []).append(_words(name))
    return "; ".join(f"[{Path(file).stem}](../{file}): {', '.join(names)}" for file, names in by_file.items())


def _words(test: str) -> str:
    """A test's name without the checks in it, in words."""
    named = _NAMED.match(test)
    return test[named.end() if named else len("test_") :].replace("_", " ")
