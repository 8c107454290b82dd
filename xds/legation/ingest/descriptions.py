"""The words beside the models' fields, for hints and for the JSON schema.

They are the docstrings below the fields. Nobody needs them until something is wrong, so they are read from the source
then, and not at every start.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache

from legation.model.base import Model


def description(model: type[Model], field: str) -> str:
    """What a field (by its name in Python) is for; empty where that is not known."""
    for owner in model.__mro__:
        if issubclass(owner, Model) and (text := _of_module(owner.__module__).get((owner.__qualname__, field))):
            return text
    return ""


@cache
def _of_module(module: str) -> dict[tuple[str, str], str]:
    """(class, field) → docstring."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, SyntaxError):
        return {}  # a program without its sources still works, with fewer words
    found: dict[tuple[str, str], str] = {}
    for owner in tree.body:
        if isinstance(owner, ast.ClassDef):
            for statement, follower in zip(owner.body, owner.body[1:], strict=False):
                if (
                    isinstance(statement, ast.AnnAssign)
                    and isinstance(statement.target, ast.Name)
                    and isinstance(follower, ast.Expr)
                    and isinstance(follower.value, ast.Constant)
                    and isinstance(follower.value.value, str)
                ):
                    found[owner.name, statement.target.id] = " ".join(follower.value.value.split())
    return found
