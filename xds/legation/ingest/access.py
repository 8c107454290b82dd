"""The policy file of the channel: strict, and with everything that is wrong with it at once.

It is one bare document, without `kind`: what is in it is no part of the mesh, and nobody gets it.
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from legation.ingest import documents
from legation.ingest.marks import walk, without_nulls
from legation.ingest.words import said
from legation.model.access import AccessPolicy
from legation.problems import Problem, Severity, dotted

POLICY: Final = "LEG0902"


def policy(file: str, text: str) -> tuple[AccessPolicy | None, list[Problem]]:
    """What a policy file says, or None where something in it is wrong, and what.

    A file with nothing but comments says nothing; one with nothing at all is a save that failed.
    """
    reading = documents.read(file, text)
    if reading.blank:
        hint = "if nothing is meant, say so in a comment"
        return None, [Problem(Severity.ERROR, POLICY, "the file is empty", file, hint=hint)]
    if reading.problems:
        return None, list(reading.problems)
    if not reading.documents:
        return AccessPolicy(), []
    first, *more = reading.documents
    if more:
        hint = "write all of it in one document, without ---"
        return None, [Problem(Severity.ERROR, POLICY, "a policy is one document", file, more[0].line, 1, hint=hint)]
    raw = without_nulls(AccessPolicy, first.value)
    made: AccessPolicy | None = None
    problems: list[Problem] = []
    try:
        made = AccessPolicy.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += [
            Problem(Severity.ERROR, POLICY, message, file, *first.position(path, at), path=dotted(path), hint=hint)
            for path, at, message, hint in said(error, AccessPolicy)
        ]
    problems += [
        Problem(
            Severity.ERROR, POLICY, one.message, file, *first.position(one.path), path=dotted(one.path), hint=one.hint
        )
        for one in walk(AccessPolicy, raw, ()).findings
    ]
    return (None, problems) if problems else (made, [])
