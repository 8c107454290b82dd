"""What is found out about documents in the light of others, before anyone knows lines."""

from __future__ import annotations

from dataclasses import dataclass

from legation.model.meta import Key
from legation.problems import Path, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """A Problem that does not know its line yet: where in which document, and what. `other` is a document that has to do
    with it.
    """

    key: Key
    path: Path
    severity: Severity
    code: str
    message: str
    hint: str = ""
    other: Key | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that a document names and another has to define: `what` is host, subset, gateway, delegate or secret."""

    what: str
    names: tuple[str, ...]
    path: Path

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """What is named, wherever it is written."""
        return self.what, self.names
