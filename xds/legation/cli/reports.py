"""Problems for people, for scripts, for code hosts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from legation.cli.flags import paint
from legation.problems import Problem, Severity


def text(problems: Sequence[Problem], documents: int) -> str:
    """A line each, and a count."""
    tally = Counter(problem.severity for problem in problems)
    listed = ", ".join(f"{tally[severity]} {severity}{'s' * (tally[severity] != 1)}" for severity in Severity)
    noun = "document" if documents == 1 else "documents"
    return "".join(f"{paint(problem)}\n" for problem in problems) + f"{documents} {noun}: {listed}\n"


def as_json(problems: Sequence[Problem], documents: int) -> str:
    """`{"problems": […], "documents": N}`."""
    return (
        json.dumps({"problems": [problem.as_json() for problem in problems], "documents": documents}, indent=2) + "\n"
    )


def github(problems: Sequence[Problem], documents: int) -> str:
    """Workflow commands, which GitHub shows beside the lines."""
    levels = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
    return "".join(
        f"::{levels[problem.severity]} file={_property(problem.file)},line={problem.line},col={problem.column},"
        f"title={_property(problem.code)}::{_data(_said(problem))}\n"
        for problem in problems
    )


def sarif(problems: Sequence[Problem], documents: int) -> str:
    """SARIF 2.1.0, the form that code scanners exchange."""
    levels = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
    results: list[dict[str, Any]] = [
        {
            "ruleId": problem.code,
            "level": levels[problem.severity],
            "message": {"text": _said(problem)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": problem.file},
                        "region": {"startLine": max(problem.line, 1), "startColumn": max(problem.column, 1)},
                    }
                }
            ],
        }
        for problem in problems
    ]
    driver = {"name": "legation", "rules": [{"id": code} for code in sorted({problem.code for problem in problems})]}
    content = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(content, indent=2) + "\n"


FORMATS: dict[str, Callable[[Sequence[Problem], int], str]] = {
    "text": text,
    "json": as_json,
    "sarif": sarif,
    "github": github,
}


def _said(problem: Problem) -> str:
    what = " ".join(part for part in (problem.object, problem.path) if part)
    return f"{what + ': ' if what else ''}{problem.message}{f' ({problem.hint})' if problem.hint else ''}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
