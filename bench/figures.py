"""Measured numbers, as they are shown: never one, always the least, the middle and the greatest of several rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds gave."""

    least: float
    median: float
    greatest: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        listed = list(values)
        return cls(min(listed), statistics.median(listed), max(listed), len(listed))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `target` is the most that the median may be; None where nothing was promised."""

    case: str
    what: str
    figure: Spread
    unit: str
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        return None if self.target is None else self.figure.median <= self.target

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def row(case: str, what: str, values: Iterable[float], unit: str, target: float | None = None) -> Row:
    """A Row of what several rounds gave. Times are handed in in seconds and shown in `unit`."""
    factor = {"s": 1.0, "ms": 1e3, "µs": 1e6}.get(unit, 1.0)
    return Row(case, what, Spread.of(value * factor for value in values), unit, target)


def ratios(case: str, what: str, ours: Iterable[float], others: Iterable[float], target: float | None = None) -> Row:
    """Ours divided by the other, turn by turn: a machine that slows down slows both."""
    return row(case, what, [mine / other for mine, other in zip(ours, others, strict=True)], "×", target)


HEAD = ("case", "what", "least", "median", "greatest", "rounds", "unit", "target", "")


def cells(of: Row) -> tuple[str, ...]:
    """A Row in words, under HEAD."""
    figure = of.figure
    verdict = {None: "", True: "met", False: "MISSED"}[of.met]
    target = "" if of.target is None else f"≤ {of.target:g}"
    numbers = (short(figure.least), short(figure.median), short(figure.greatest))
    return (of.case, of.what, *numbers, str(figure.rounds), of.unit, target, verdict)


def short(number: float) -> str:
    """Three digits that count."""
    if number == 0 or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"
