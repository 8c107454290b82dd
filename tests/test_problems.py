"""The page of codes is complete, and says nothing of codes that do not exist."""

from __future__ import annotations

import re
from pathlib import Path

from legation.problems import Problem, Severity, dotted, in_order

ROOT = Path(__file__).parents[1]


def test_every_code_has_its_row() -> None:
    used = {
        code
        for module in (ROOT / "xds").rglob("*.py")
        for code in re.findall(r'"((?:LEG|IST)\d{4})"', module.read_text(encoding="utf-8"))
    }
    told = re.findall(
        r"^\| ((?:LEG|IST)\d{4}) \|", (ROOT / "docs/problems.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(told) == sorted(set(told)), "each once, in order"
    assert set(told) == used


def test_paths_are_written_as_people_write_them() -> None:
    assert dotted(("spec", "http", 0, "route", 1, "weight")) == "spec.http[0].route[1].weight"
    assert dotted(("metadata", "labels", "app.kubernetes.io/name")) == 'metadata.labels["app.kubernetes.io/name"]'


def test_the_worst_comes_first_where_they_meet_and_nothing_twice() -> None:
    warning = Problem(Severity.WARNING, "A", "w", "f", 1, 1)
    error = Problem(Severity.ERROR, "B", "e", "f", 1, 1)
    later = Problem(Severity.ERROR, "A", "l", "f", 2, 1)
    assert in_order([later, warning, error, warning]) == [error, warning, later]
