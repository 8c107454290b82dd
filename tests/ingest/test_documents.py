"""From text to documents: what is read, where it stands, and what an enemy's text can do."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from legation.ingest import documents
from legation.ingest.documents import At
from legation.problems import Problem


def only(text: str) -> documents.Document:
    (document,) = documents.read("f.yaml", text).documents
    return document


def problem(text: str) -> Problem:
    (found,) = documents.read("f.yaml", text).problems
    return found


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0644", "0644"), ("on", "on"), ("yes", "yes"), ("No", "No"), ("2020-01-01", "2020-01-01"), ("1:30", "1:30"),
        ("1_000", "1_000"), ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("12", 12),
        ("-7", -7), ("0x1F", 31), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("'12'", "12"), ('"true"', "true"),
        ("!!str 12", "12"), ("v1", "v1"), ("+1", 1), ("1.2.3", "1.2.3"), ("=", "="), ("<<", "<<"), ("-", None),
    ],
)  # fmt: skip
def test_scalars_are_those_of_kubernetes(written: str, value: object) -> None:
    if written == "-":
        assert only("a:\n- \n").value == {"a": [value]}
    else:
        assert only(f"a: {written}\n").value == {"a": value}


def test_parts_are_split_before_they_are_parsed() -> None:
    reading = documents.read("f.yaml", "a: 1\n---\nb: [1\n---\nc: 3\n")
    assert [document.value for document in reading.documents] == [{"a": 1}, {"c": 3}]
    assert [document.line for document in reading.documents] == [1, 5]
    (found,) = reading.problems
    assert (found.line, found.column) == (3, 4), "where the bracket was opened"
    assert not reading.complete


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", "   \n"])
def test_a_blank_file_is_told_from_one_with_a_comment(text: str) -> None:
    assert documents.read("f.yaml", text).blank
    assert not documents.read("f.yaml", text + "# nothing\n").blank


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("--- {a: 1}\n--- # comment\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("%YAML 1.2\n---\na: 1\n...\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("a: 1\n---\n# only a comment\n---\n---\nb: 2", [{"a": 1}, {"b": 2}]),
        ("a: |\n  text\n  --- not a marker\nb: 2\n", [{"a": "text\n--- not a marker\n", "b": 2}]),
        ("a: 1\r\n---\r\nb: 2\r\n", [{"a": 1}, {"b": 2}]),
        ('{"a": [1, {"b": null}]}', [{"a": [1, {"b": None}]}]),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n", [{"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}]),
        ("1: a\ntrue: b\n", [{"1": "a", "true": "b"}]),
    ],
)
def test_what_a_text_holds(text: str, values: list[object]) -> None:
    reading = documents.read("f.yaml", text)
    assert not reading.problems
    assert [document.value for document in reading.documents] == values


def test_a_list_is_its_items_each_with_its_line() -> None:
    reading = documents.read("f.yaml", "kind: List\nitems:\n- kind: A\n  x: {y: 1}\n- 7\n- kind: B\n")
    assert [document.value["kind"] for document in reading.documents] == ["A", "B"]
    assert [document.line for document in reading.documents] == [3, 6]
    assert reading.documents[0].position(("x", "y")) == (4, 10)
    (found,) = reading.problems
    assert found.line == 5


def test_positions_of_keys_and_values() -> None:
    document = only("# first\na:\n  b:\n  - c: 1\n    d: two\n")
    assert document.position(("a", "b", 0, "d")) == (5, 8)
    assert document.position(("a", "b", 0, "d"), At.KEY) == (5, 5)
    assert document.position(("a", "b", 0, "missing", "deeper")) == (4, 5), "the nearest parent"
    assert document.position(("a", "nothing")) == (2, 1), "the parent's key"


def test_every_duplicate_key_is_told_and_the_document_is_not_trusted() -> None:
    reading = documents.read("f.yaml", "a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert [(found.line, found.column) for found in reading.problems] == [(2, 11), (3, 1)]
    assert not reading.documents[0].sound


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: b: c\n", 1, 5),
        ("a:\n\tb: 1\n", 2, 1),
        ("a: 1\n b: 2\n", 2, 3),
        ('a: "never closed\nb: 1\n', 1, 4),
        ("a: 1\nb: \x01\n", 2, 4),
        ("a: *nobody\n", 1, 4),
        ("a: &a [*a]\n", 1, 8),
        ("a: !!python/object:os.system x\n", 1, 4),
        ("- a\n- b\n", 1, 1),
        ("just text\n", 1, 1),
        ("? [a]\n: 1\n", 1, 3),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, line: int, column: int) -> None:
    found = problem(text)
    assert (found.line, found.column) == (line, column)
    assert found.hint


def test_thirty_thousand_brackets_do_no_harm() -> None:
    for text in ("[" * 30_000, "{a: " * 30_000, "- " * 30_000, "? " * 30_000, "a:\n" + "  " * 200 + "- [" * 5000):
        assert "nested" in problem(text).message or problem(text).code == documents.SYNTAX


def test_an_alias_bomb_is_counted_and_not_built() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases expanded" in problem("\n".join(lines)).message


def test_a_source_reads_as_the_same_document() -> None:
    reading = documents.read("f.yaml", "a: 1\n---\n# note\nkind: List\nitems:\n- kind: A\n  n: 0644\n")
    for document in reading.documents:
        again = documents.restore("f.yaml", document.line, document.source)
        assert again is not None
        assert again.value == document.value
        assert again.line == document.line


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("{}[]:-#&*!|>'\"%@`\n\t ,?"), max_size=200))
@example("--- >\n ---")
@example("a: &x\n<<: *x")
@example("<<: {a: 1}\n<<: {b: 1}\n")
def test_no_text_makes_the_reader_fall_over(text: str) -> None:
    reading = documents.read("f.yaml", text)
    for document in reading.documents:
        document.position(("spec", 0, "x"))
        document.position(())
    for found in reading.problems:
        assert found.line >= 1
        assert found.column >= 1
