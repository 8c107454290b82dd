"""Which Sidecar is for a proxy, and what it imports."""

from __future__ import annotations

import pytest
from legation.model import sidecars
from legation.model.meta import Key
from legation.model.recall import Recall
from legation.model.sidecars import Viewer
from worlds import world


def sidecar(name: str, namespace: str = "default", labels: str = "", hosts: str = '"*/*"', created: str = "") -> str:
    selector = f"\n  workloadSelector: {{labels: {{{labels}}}}}" if labels else ""
    dated = f', creationTimestamp: "{created}"' if created else ""
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: {namespace}{dated}}}
spec:{selector}
  egress: [{{hosts: [{hosts}]}}]
"""


WIDE, APP, ROOT = sidecar("wide"), sidecar("app", labels="app: x"), sidecar("root", "istio-system")


@pytest.mark.parametrize(
    ("documents", "labels", "name"),
    [
        ((), (), None),
        ((ROOT,), (), "root"),
        ((ROOT, WIDE), (), "wide"),
        ((ROOT, WIDE, APP), (), "wide"),
        ((ROOT, WIDE, APP), (("app", "x"), ("other", "y")), "app"),
        ((ROOT, APP), (), "root"),
        ((sidecar("root", "istio-system", "app: x"),), (("app", "x"),), None),
        ((sidecar("far", "other"),), (), None),
        ((APP, sidecar("zoo", labels="other: y", created="2020-01-01T00:00:00Z")), (("app", "x"), ("other", "y")), "zoo"),
        ((WIDE, sidecar("able")), (), "able"),
    ],
)  # fmt: skip
def test_the_narrowest_place_decides_then_age(
    documents: tuple[str, ...], labels: tuple[tuple[str, str], ...], name: str | None
) -> None:
    found = Recall(world(*documents)).ask(sidecars.governing, "default", labels)
    assert (found.name if found is not None else None) == name


@pytest.mark.parametrize(
    ("hosts", "imported"),
    [
        ('"*/*"', {"own/a.test", "far/a.test", "far/b.test"}),
        ('"./*"', {"own/a.test"}),
        ('"far/*"', {"far/a.test", "far/b.test"}),
        ('"far/b.test"', {"far/b.test"}),
        ('"*/a.test"', {"own/a.test", "far/a.test"}),
        ('"~/*"', set()),
        ('"*/*", "~far/a.test"', {"own/a.test", "far/b.test"}),
        ('"*/*", "~own/*"', {"far/a.test", "far/b.test"}),
        ('"*/*.est"', set()),
    ],
)
@pytest.mark.parametrize("home", ["own", "istio-system"])
def test_an_entry_imports_what_its_hosts_say(hosts: str, imported: set[str], home: str) -> None:
    """`.` is the proxy's namespace, wherever the Sidecar is."""
    recall = Recall(world(sidecar("s", home, hosts=hosts)))
    (entry,) = recall.ask(sidecars.egress, Viewer("own", Key("Sidecar", home, "s")))
    every = [("own", "a.test"), ("far", "a.test"), ("far", "b.test")]
    assert {f"{namespace}/{host}" for namespace, host in every if entry.imports(namespace, host)} == imported


def test_a_rule_is_imported_with_any_of_its_hosts_and_by_a_wildcard_either_way() -> None:
    recall = Recall(world(sidecar("s", hosts='"./a.test", "~default/*.z.test"')))
    (entry,) = recall.ask(sidecars.egress, Viewer("default", Key("Sidecar", "default", "s")))
    assert entry.imports_rule("default", ["b.test", "a.test"])
    assert entry.imports_rule("default", ["*.test"])
    assert not entry.imports_rule("default", ["b.test", "x.z.test"])
    assert not entry.imports_rule("other", ["a.test"])
