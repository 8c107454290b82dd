"""Delegates: what stands in for a rule, and who is asked again when it changes."""

from __future__ import annotations

from legation.model import analysis, delegation
from legation.model.meta import Key, Object
from legation.model.recall import Reader
from worlds import Line

HEAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"


def root(name: str, delegate: str) -> str:
    rules = f"[{{match: [{{uri: {{prefix: /a}}}}], delegate: {{name: {delegate}, namespace: team}}}}]"
    return f"{HEAD}metadata: {{name: {name}}}\nspec: {{hosts: [{name}], http: {rules}}}\n"


def leaf(name: str, path: str, more: str = "") -> str:
    rules = f"[{{name: leaf, match: [{{uri: {{prefix: {path}}}}}], route: [{{destination: {{host: b}}}}]}}]"
    return f"{HEAD}metadata: {{name: {name}, namespace: team}}\nspec: {{http: {rules}{more}}}\n"


def prefixes(reader: Reader, name: str) -> tuple[str, ...]:
    """The paths that a root's rules match (a unit)."""
    (item,) = reader.get("VirtualService", ("default", name))
    return tuple(
        match.uri.prefix or "" for of in delegation.rules(reader, item) for match in of.rule.match if match.uri
    )


def test_a_delegates_change_is_a_change_of_the_roots_that_use_it() -> None:
    line = Line(root("one", "x"), root("two", "y"), leaf("x", "/a/1"), leaf("y", "/a/2"))
    assert line.recall.ask(prefixes, "one") == ("/a/1",)
    assert line.recall.ask(prefixes, "two") == ("/a/2",)
    ran = line.recall.runs
    line.change(leaf("x", "/a/3"))
    assert line.recall.ask(prefixes, "two") == ("/a/2",)
    assert line.recall.runs == ran
    assert line.recall.ask(prefixes, "one") == ("/a/3",)
    assert line.recall.runs > ran


def test_a_change_that_changes_no_rule_goes_no_further() -> None:
    line = Line(root("one", "x"), leaf("x", "/a/1"))
    line.recall.ask(prefixes, "one")
    ran = line.recall.runs
    line.change(leaf("x", "/a/1", ", exportTo: [default]"))
    line.recall.ask(prefixes, "one")
    assert line.recall.runs == ran + 1, "what stands in is looked at again, and is the same"


def test_a_delegate_comes_and_goes() -> None:
    line = Line(root("one", "x"))
    assert line.recall.ask(prefixes, "one") == ()
    assert [found.code for found in line.recall.ask(analysis.findings, Key("VirtualService", "default", "one"))] == [
        "IST0101"
    ]
    line.change(leaf("x", "/a"))
    assert line.recall.ask(prefixes, "one") == ("/a",)
    assert line.recall.ask(analysis.findings, Key("VirtualService", "default", "one")) == ()
    line.change(removed=[Key("VirtualService", "team", "x")])
    assert line.recall.ask(prefixes, "one") == ()


def sources(reader: Reader, name: str) -> tuple[Key, ...]:
    """The documents behind a root (a unit)."""
    found: tuple[Object, ...] = reader.get("VirtualService", ("default", name))
    return delegation.delegates(reader, found[0])


def test_a_root_knows_its_delegates_also_those_that_add_nothing() -> None:
    line = Line(root("one", "x"), leaf("x", "/b"))
    assert line.recall.ask(prefixes, "one") == ()
    assert line.recall.ask(sources, "one") == (Key("VirtualService", "team", "x"),)


def test_a_root_that_loses_its_rule_asks_for_it_no_more() -> None:
    line = Line(root("one", "x"), leaf("x", "/a"))
    key = Key("VirtualService", "default", "one")
    line.recall.ask(prefixes, "one")
    line.recall.ask(analysis.findings, key)
    line.change(
        f"{HEAD}metadata: {{name: one}}\nspec: {{hosts: [one], tcp: [{{route: [{{destination: {{host: b}}}}]}}]}}\n"
    )
    assert line.recall.ask(prefixes, "one") == ()
    line.change(root("one", "x"))
    assert line.recall.ask(prefixes, "one") == ("/a",)
    line.change(removed=[key])
    assert line.recall.ask(analysis.findings, key) == ()
