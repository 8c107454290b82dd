"""Whole cases, compiled: `<feature>/<case>/` holds the input, who asks, every output, the problems, and a few calls.

`pytest tests/golden --update` rewrites the outputs and removes those that no case makes any longer. `calls.yaml` is
written by hand: it says what must become of a call, and is walked through the output the way Envoy does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import CASES, OUTPUTS, Case, compiled
from legation.problems import Problem
from legation.snapshot.snapshot import Snapshot
from simulate import Call, Config, call

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def outputs(case: Case) -> dict[str, Any]:
    """What a case's output files hold, by name; empty ones are not written."""
    result = compiled(case)
    found: dict[str, Any] = {f"{table}.yaml": messages for table, messages in case.tables(result.snapshot).items()}
    found["problems.yaml"] = [
        {key: value for key, value in problem.as_json().items() if value not in ("", 0)} for problem in result.problems
    ]
    return {name: content for name, content in found.items() if content}


def text_of(content: Any) -> str:
    return yaml.dump(content, Dumper=DUMPER, sort_keys=False, width=120, allow_unicode=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_compiles_to_what_is_written(case: Case, request: pytest.FixtureRequest) -> None:
    made = {name: text_of(content) for name, content in outputs(case).items()}
    if request.config.getoption("--update"):
        for name in OUTPUTS:
            (case.folder / name).unlink(missing_ok=True)
        for name, text in made.items():
            (case.folder / name).write_text(text)
    written = {name: path.read_text() for name in OUTPUTS if (path := case.folder / name).exists()}
    assert made.keys() == written.keys()
    for name, text in written.items():
        assert made[name] == text, f"{case}/{name}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_order_and_layout_of_the_files_do_not_matter(case: Case) -> None:
    plain = compiled(case)
    for files in (case.a_file_per_document(), dict(reversed(case.a_file_per_document(reverse=True).items()))):
        other = compiled(case, files)
        assert bodies(other.snapshot) == bodies(plain.snapshot)
        assert said(other.problems) == said(plain.problems)


def bodies(snapshot: Snapshot) -> dict[str, dict[str, bytes]]:
    return {url: {name: found.body for name, found in table.items()} for url, table in snapshot.resources.items()}


def said(problems: list[Problem]) -> list[tuple[str, ...]]:
    return sorted((p.code, str(p.severity), p.object, p.path, p.message, p.hint) for p in problems)


CALLS = [
    pytest.param(case, number, id=f"{case}-{number}")
    for case in CASES
    for number in range(len(case.read("calls.yaml")))
]


@pytest.mark.parametrize(("case", "number"), CALLS)
def test_a_call_reaches_what_it_must(case: Case, number: int) -> None:
    expected = dict(case.read("calls.yaml")[number])
    asked = Call(**{key: expected.pop(key) for key in list(expected) if key in Call.__dataclass_fields__})
    config = Config(**case.tables(compiled(case).snapshot))
    assert call(config, asked) == expected


def test_no_output_belongs_to_nobody(request: pytest.FixtureRequest) -> None:
    """Every file in the tree is a case's; an empty folder or a stray file is somebody's mistake."""
    here = Path(__file__).parent
    known = {case.folder for case in CASES}
    names = {*OUTPUTS, "input.yaml", "proxy.yaml", "calls.yaml"}
    stray = [path for path in sorted(here.glob("*/*/*")) if path.parent not in known or path.name not in names]
    if request.config.getoption("--update"):
        for path in stray:
            path.unlink()
        stray = []
    assert stray == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_is_complete(case: Case) -> None:
    assert case.read("calls.yaml"), "a case without calls shows nothing"
