"""What is wrong, where, and what to do about it: the one form in which every stage reports to people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

Path = tuple[str | int, ...]
"""Where something stands inside a document: `("spec", "http", 0, "route", 1, "weight")`."""


class Severity(IntEnum):
    """How bad it is. Errors keep a document out of service; warnings and infos never do."""

    ERROR = 0
    WARNING = 1
    INFO = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    `file` is the path as the user gave it, `line` and `column` count from 1 (0: not in any line), `object` reads
    `VirtualService default/reviews`, `path` reads `spec.http[0].route[1].weight`. `code` is stable: Istio's analyzer
    code (`IST0101`) where the meaning is the same, ours (`LEG…`) otherwise. `other` is another place that it is about, as
    `file:line`.
    """

    severity: Severity
    code: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    object: str = ""
    path: str = ""
    hint: str = ""
    other: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: " if self.file else ""
        what = " ".join(part for part in (self.object, self.path) if part)
        hint = f" ({self.hint})" if self.hint else ""
        other = f", see {self.other}" if self.other else ""
        return f"{where}{self.severity}: {what + ': ' if what else ''}{self.message}{other}{hint} [{self.code}]"

    def as_json(self) -> dict[str, Any]:
        """The JSON form of `validate -o json`: every field, severity by its name."""
        return {**asdict(self), "severity": str(self.severity)}


def dotted(path: Path) -> str:
    """`("spec", "http", 0, "name")` as people write it: `spec.http[0].name`. A key with a dot is quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif "." in step or "/" in step:
            text += f'["{step}"]'
        else:
            text += f".{step}" if text else step
    return text


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Without repetitions, by file, line and column, the worst first where they meet."""
    return sorted(
        dict.fromkeys(problems), key=lambda p: (p.file, p.line, p.column, p.severity, p.code, p.path, p.message)
    )
