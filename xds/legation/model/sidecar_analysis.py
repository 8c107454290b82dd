"""What is to be said about Sidecars in the light of the others."""

from __future__ import annotations

from collections.abc import Iterator

from legation.model import index
from legation.model.findings import Finding
from legation.model.meta import Object
from legation.model.recall import Reader
from legation.problems import Path, Severity

SAME_WORKLOADS = "IST0110"
SAME_NAMESPACE = "IST0111"
SELECTS_NOBODY = "IST0101"


def of(reader: Reader, item: Object) -> Iterator[Finding]:
    """What a Sidecar says to nobody, or loses to an older one."""
    yield from _selects_nobody(reader, item)
    yield from _older(reader, item)


def _selects_nobody(reader: Reader, item: Object) -> Iterator[Finding]:
    """Where workloads are written down, proxies beside others are a mistake."""
    wanted, namespace = index.sidecar_labels(item), item.key.namespace
    if not wanted or not reader.names((index.OF_NAMESPACE, namespace)):
        return
    key, value = min(wanted.items())
    here = reader.get("workload", (namespace, key, value))
    if not any(wanted.items() <= index.workload_labels(found).items() for found in here):
        listed = ", ".join(f"{key}={value}" for key, value in sorted(wanted.items()))
        said = f"no workload of the namespace {namespace} has {listed}: this is for nobody"
        yield Finding(item.key, _SELECTOR, Severity.WARNING, SELECTS_NOBODY, said, "compare the labels")


def _older(reader: Reader, item: Object) -> Iterator[Finding]:
    """What a Sidecar loses to an older one that is for the same proxies."""
    mine = index.sidecar_labels(item)
    for other in reader.get(index.SIDECAR, item.key.namespace):
        if other.age >= item.age:
            return
        theirs = index.sidecar_labels(other)
        if not mine and not theirs:
            said = f"{other.key} is for all of the namespace too, and older: this one has no effect"
            yield _lost(item, (), SAME_NAMESPACE, said, other, "keep one of the two, or give one a `workloadSelector`")
            return
        if mine and theirs and theirs.items() <= mine.items():
            said = f"{other.key} selects every workload that this one does, and is older: this one has no effect"
            yield _lost(item, _SELECTOR, SAME_WORKLOADS, said, other, "let each workload be selected by one of them")
            return
        if mine and theirs and (both := _selected_by_both(reader, item, other)):
            said = f"{other.key} selects {both} too, and is older: this one has no effect there"
            yield _lost(item, _SELECTOR, SAME_WORKLOADS, said, other, "let each workload be selected by one of them")


_SELECTOR: Path = ("spec", "workloadSelector")


def _selected_by_both(reader: Reader, one: Object, other: Object) -> str:
    """A workload that both select; empty if there is none."""
    wanted = {*index.sidecar_labels(one).items(), *index.sidecar_labels(other).items()}
    key, value = min(wanted)
    for item in reader.get("workload", (one.key.namespace, key, value)):
        if wanted <= index.workload_labels(item).items():
            return str(item.key)
    return ""


def _lost(item: Object, path: Path, code: str, said: str, other: Object, hint: str) -> Finding:
    return Finding(item.key, path, Severity.WARNING, code, said, hint, other.key)
