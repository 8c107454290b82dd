"""A mapping that never changes, and makes another from itself and a few entries at the cost of the few."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

FEW: Final = 256
"""Entries that may differ from the table below; with more everything is copied, once."""

_GONE: Any = object()


class Overlay(Mapping[K, V]):
    """A large table that is shared with others, and on top of it the few entries in which this one differs."""

    __slots__ = ("_below", "_top")

    def __init__(self, below: Mapping[K, V] | None = None, top: Mapping[K, V] | None = None) -> None:
        """For `altered` and empty ones; neither table may change any more."""
        self._below = below or {}
        self._top = top or {}

    def altered(self, put: Mapping[K, V], removed: Iterable[K] = ()) -> Overlay[K, V]:
        """This mapping without `removed` and with `put`. What is changed keeps its place in the order."""
        top = {**self._top, **dict.fromkeys(removed, _GONE), **put}
        made = Overlay(self._below, top)
        return made if len(top) <= FEW else Overlay(made._whole())

    def __getitem__(self, key: K) -> V:
        value = self.get(key, _GONE)
        if value is _GONE:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    def get(self, key: K, default: Any = None) -> Any:
        if key in self._top:
            value = self._top[key]
            return default if value is _GONE else value
        return self._below.get(key, default)

    def __contains__(self, key: object) -> bool:
        return self._top[key] is not _GONE if key in self._top else key in self._below  # type: ignore[index]

    def __len__(self) -> int:
        return len(self._below) + sum((value is not _GONE) - (key in self._below) for key, value in self._top.items())

    # Whoever goes through all of it pays for a copy, which is still much faster than to merge entry by entry.

    def __iter__(self) -> Iterator[K]:
        return iter(self._whole())

    def keys(self) -> KeysView[K]:
        return self._whole().keys()

    def values(self) -> ValuesView[V]:
        return self._whole().values()

    def items(self) -> ItemsView[K, V]:
        return self._whole().items()

    def _whole(self) -> Mapping[K, V]:
        if not self._top:
            return self._below
        whole = {**self._below, **self._top}
        for key in [key for key, value in self._top.items() if value is _GONE]:
            del whole[key]
        return whole
