"""The plain values: what is taken, and what it becomes."""

from __future__ import annotations

import pickle
from datetime import timedelta

import pytest
from legation.model.base import FrozenMap, camel
from legation.model.metadata import seconds
from legation.model.values import (
    Base64,
    Bind,
    DestinationHost,
    Duration,
    DurationOrZero,
    Host,
    Labels,
    Regex,
    Subnet,
    fault_of_host,
    fault_of_regex,
    nanoseconds,
)
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1ns", 1),
        ("1us", 10**3),
        ("1µs", 10**3),
        ("100ms", 10**8),
        ("1.5s", 15 * 10**8),
        (".5s", 5 * 10**8),
        ("1.s", 10**9),
        ("5m30s", 330 * 10**9),
        ("1h", 3600 * 10**9),
        ("1h1m1s1ms", 3661001 * 10**6),
        ("30s1h", 3630 * 10**9),
        ("2562047h", 2562047 * 3600 * 10**9),
    ],
)
def test_durations_in_go_s_grammar(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "s",
        "1x",
        "1 s",
        " 1s",
        "1s ",
        "-1s",
        "+1s",
        ".s",
        "1..5s",
        "1e3s",
        "2562047h1ns",
        "99999999999999999999h",
        "١s",
    ],
)
def test_no_durations(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        nanoseconds(text)


def test_durations_are_whole_milliseconds() -> None:
    assert TypeAdapter(Duration).validate_python("1500ms") == timedelta(seconds=1.5)
    assert TypeAdapter(DurationOrZero).validate_python("0s") == timedelta(0)
    assert TypeAdapter(Duration).validate_python(timedelta(seconds=2)) == timedelta(seconds=2)
    for text in ("0s", "1us", "1.0005s"):
        with pytest.raises(ValidationError):
            TypeAdapter(Duration).validate_python(text)


TAKEN = [
    (Host, ["a", "a.prod.svc.cluster.local", "a.com.", "*", "*.b", "*-a.b", "*a", "A.b", "10.0.0.1", "::1", "x" * 63]),
    (DestinationHost, ["a", "*.b"]),
    (Regex, ["a", "*", "(?i)a", "a" * 1024]),
    (Bind, ["0.0.0.0", "::", "unix:///a/b", "unix://@a"]),
    (Subnet, ["10.0.0.1", "10.0.0.0/8", "10.1.2.3/8", "::/0"]),
    (Labels, [{"a": ""}, {"topology.kubernetes.io/zone": "a_b.c"}]),
]  # fmt: skip
REFUSED = [
    (Host, ["", ".", "a..b", "a.*", "-a", "a-", "a_b", "a/b", "a:80", "a b", "1.2.3", "10.0.0.1/8", "x" * 64, "ä"]),
    (DestinationHost, ["*"]),
    (Regex, ["", "(", "a{1001}", "(?<=a)b", "\\1", "a" * 1025]),
    (Bind, ["", "a", "unix://a", "unix:///a/", "10.0.0.1:80"]),
    (Subnet, ["", "10.0.0.0/33", "a", "::1%eth0", "10.0.0"]),
    (Labels, [{"": "a"}, {"a/b/c": "a"}, {"a": "-"}, {"a": "x" * 64}, {"A.b/": "a"}, {"a": "*"}]),
    (Base64, ["?", "YQ", "YQ==\n", "ä"]),
]  # fmt: skip


@pytest.mark.parametrize(("form", "values"), TAKEN)
def test_taken_as_they_are(form: object, values: list[object]) -> None:
    for value in values:
        assert TypeAdapter(form).validate_python(value) == value


@pytest.mark.parametrize(("form", "value"), [(form, value) for form, values in REFUSED for value in values])
def test_refused(form: object, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(form).validate_python(value)
    assert {error["type"] for error in refused.value.errors()} == {"legation"}


def test_faults_are_said() -> None:
    assert fault_of_host("a") == ""
    assert "beginning" in fault_of_host("a.*")
    assert "number" in fault_of_host("a.1")
    assert fault_of_host("*", wildcard=False)
    assert "1024" in fault_of_regex("a" * 1025)


def test_names_in_files() -> None:
    assert [
        camel(name) for name in ("consecutive_5xx_errors", "http1_max_pending_requests", "from_", "ca_crl", "a")
    ] == [
        "consecutive5xxErrors",
        "http1MaxPendingRequests",
        "from",
        "caCrl",
        "a",
    ]


def test_maps_never_change() -> None:
    made = FrozenMap({"a": 1, "b": 2})
    assert hash(made) == hash(FrozenMap({"b": 2, "a": 1}))
    assert made == {"b": 2, "a": 1}
    assert pickle.loads(pickle.dumps(made)) == made
    for change in (
        lambda: made.update(a=2),
        lambda: made.__setitem__("a", 2),
        lambda: made.pop("a"),
        made.clear,
        lambda: made.setdefault("c", 3),
    ):
        with pytest.raises(TypeError):
            change()
    assert made == {"a": 1, "b": 2}


def test_times() -> None:
    assert seconds("1970-01-01T00:00:01Z") == 1
    assert seconds("1970-01-01T01:00:00.25+01:00") == 0.25
    for text in ("", "1970-01-01", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00", "1970-01-01T00:00:00+99:99"):
        with pytest.raises(ValueError):
            seconds(text)
