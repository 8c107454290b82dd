"""What the simplest command needs: flags, and Problems as lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from legation.problems import Problem, Severity

F = TypeVar("F", bound=Callable[..., Any])


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """A flag with its twin in the environment: `--state-dir` is LEGATION_STATE_DIR."""
    long = next(name for name in names if name.startswith("--"))
    twin = "LEGATION_" + long.partition("/")[0].strip("-").replace("-", "_").upper()
    return click.option(*names, envvar=twin, show_default=settings.pop("show_default", True), **settings)


def paint(problem: Problem) -> str:
    """A Problem as a line for a terminal; click leaves the colours out where they are not wanted (NO_COLOR)."""
    colours = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "blue"}
    text, word = str(problem), f"{problem.severity}:"
    before, _, after = text.partition(word)
    return f"{click.style(before, bold=True)}{click.style(word, fg=colours[problem.severity], bold=True)}{after}"
