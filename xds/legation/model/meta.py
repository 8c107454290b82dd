"""What every document has: its identity, its metadata, its place in the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from legation.names import Key

__all__ = ["Key", "Object", "ObjectMeta"]


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """The part of Kubernetes' ObjectMeta that means something here.

    `created` is `metadata.creationTimestamp` in seconds since the epoch, or None where it is not written.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created: float | None = None


@dataclass(frozen=True, slots=True)
class Object:
    """A decoded document: identity, metadata, and the kind's own model (`model/<kind>.py`) as `spec`.

    For Kubernetes' own kinds, whose fields stand beside `metadata`, `spec` is the model of the whole document.
    Equality is of meaning: two documents that differ in place, order of keys or comments are equal.
    """

    key: Key
    meta: ObjectMeta
    spec: Any

    @property
    def age(self) -> tuple[bool, float, str, str]:
        """The sort key of Istio's "oldest first": dated before undated, then by date, name, namespace."""
        created = self.meta.created
        return (created is None, created or 0.0, self.key.name, self.key.namespace)
