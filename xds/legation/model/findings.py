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
