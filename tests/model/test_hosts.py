"""Short names, wildcards, and which of several is meant."""

from __future__ import annotations

import pytest
from legation.model import hosts


@pytest.mark.parametrize(
    ("pattern", "host", "fits"),
    [
        ("a.example", "a.example", True),
        ("a.example", "b.example", False),
        ("*", "anything", True),
        ("*.foo.com", "bar.foo.com", True),
        ("*.foo.com", "a.b.foo.com", True),
        ("*.foo.com", "foo.com", False),
        ("*.foo.com", ".foo.com", False),
        ("*foo.com", "barfoo.com", True),
        ("*.com", "*.foo.com", True),
        ("*.foo.com", "*.com", False),
        ("*.foo.com", "*.foo.com", True),
        ("*", "*.foo.com", True),
        ("a.foo.com", "*.foo.com", False),
        ("*-x.foo.com", "a-x.foo.com", True),
    ],
)
def test_what_a_pattern_contains(pattern: str, host: str, fits: bool) -> None:
    assert hosts.contains(pattern, host) is fits


def test_an_exact_host_goes_before_any_wildcard_and_a_longer_one_before_a_shorter() -> None:
    patterns = ["*", "*.com", "*.foo.com", "a.foo.com", "*.bar.com"]
    assert hosts.most_specific(patterns, "a.foo.com") == "a.foo.com"
    assert hosts.most_specific(patterns, "b.foo.com") == "*.foo.com"
    assert hosts.most_specific(patterns, "b.com") == "*.com"
    assert hosts.most_specific(["*.org"], "b.com") is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("reviews", ("reviews.prod.svc.cluster.local", "reviews")),
        ("Reviews", ("reviews.prod.svc.cluster.local", "reviews")),
        ("reviews.other", ("reviews.other", "reviews.other.svc.cluster.local")),
        ("a.b.c", ("a.b.c",)),
        ("*.example.com", ("*.example.com",)),
        ("*", ("*",)),
        ("10.0.0.1", ("10.0.0.1",)),
        ("fd00::1", ("fd00::1",)),
    ],
)
def test_what_a_written_host_may_mean(written: str, meant: tuple[str, ...]) -> None:
    assert hosts.readings(written, "prod", "cluster.local") == meant
    assert hosts.resolve_at_gateway(written, "prod", "cluster.local") == meant[0]


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1/32", "10.0.0.1"),
        ("10.0.0.0/24", "10.0.0.0/24"),
        ("FD00:0::A", "fd00::a"),
        ("fd00::a/128", "fd00::a"),
        ("unix:///run/x", "unix:///run/x"),
        ("", ""),
    ],
)
def test_an_address_is_the_same_however_it_is_written(written: str, same: str) -> None:
    assert hosts.address(written) == same


def test_a_typo_finds_its_neighbour() -> None:
    assert hosts.closest("ratigns", ["ratings", "reviews"]) == "ratings"
    assert hosts.closest("payments", ["ratings", "reviews"]) is None
