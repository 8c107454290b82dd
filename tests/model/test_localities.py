"""Which endpoints are preferred from where: the arithmetic of Istio's locality load balancing."""

from __future__ import annotations

from typing import Any

import pytest
from legation.model.destination_rule import TrafficPolicy
from legation.model.endpoints import Endpoint
from legation.model.localities import arranged, preference, standpoint, within
from legation.model.policies import effective
from legation.model.proxy import Locality, labels

PLACES = ("eu/a/1", "eu/a/2", "eu/b", "us/c", "asia/d")
WATCHED = {"outlierDetection": {}}

Found = list[tuple[str, int, int, list[str]]]


def endpoints(*written: tuple[str, str, dict[str, str], int]) -> list[Endpoint]:
    made = [Endpoint(name, 80, labels(own), Locality.parse(place), weight) for name, place, own, weight in written]
    return sorted(made, key=lambda endpoint: (str(endpoint.locality), endpoint.address))


def groups(policy: dict[str, Any], here: str, found: list[Endpoint], own: dict[str, str] | None = None) -> Found:
    """Locality, priority, weight and names, as they are told."""
    said = preference(effective(TrafficPolicy.model_validate(policy, by_alias=True, by_name=False), None, 80))
    seen_from = standpoint(said, Locality.parse(here), own or {})
    return [
        (str(group.locality), group.priority, group.weight, [endpoint.address for endpoint in group.endpoints])
        for group in arranged(found, said, seen_from)
    ]


ONE_EACH = endpoints(*((place, place, {}, 1) for place in PLACES))


def by_place(policy: dict[str, Any], here: str) -> dict[str, int]:
    return {place: priority for place, priority, _, _ in groups(policy, here, ONE_EACH)}


def setting(**fields: Any) -> dict[str, Any]:
    return {**WATCHED, "loadBalancer": {"localityLbSetting": fields}}


def test_without_detection_nobody_is_preferred() -> None:
    assert set(by_place({"loadBalancer": {"simple": "RANDOM"}}, "eu/a/1").values()) == {0}


NEAREST_FIRST = [
    ("eu/a/1", {"eu/a/1": 0, "eu/a/2": 1, "eu/b": 2, "us/c": 3, "asia/d": 3}),
    ("eu/a/3", {"eu/a/1": 0, "eu/a/2": 0, "eu/b": 1, "us/c": 2, "asia/d": 2}),
    ("us/x", {"us/c": 0, "eu/a/1": 1, "eu/a/2": 1, "eu/b": 1, "asia/d": 1}),
    ("", dict.fromkeys(PLACES, 0)),
]


@pytest.mark.parametrize(("here", "wanted"), NEAREST_FIRST)
def test_detection_alone_prefers_what_is_near(here: str, wanted: dict[str, int]) -> None:
    assert by_place(WATCHED, here) == wanted
    assert by_place(setting(enabled=True), here) == wanted


def test_it_can_be_turned_off() -> None:
    assert set(by_place(setting(enabled=False), "eu/a/1").values()) == {0}


def test_a_region_takes_over_from_another() -> None:
    wanted = {"eu/a/1": 0, "eu/a/2": 1, "eu/b": 2, "us/c": 3, "asia/d": 4}
    assert by_place(setting(failover=[{"from": "eu", "to": "us"}, {"from": "eu", "to": "asia"}]), "eu/a/1") == wanted
    assert by_place(setting(failover=[{"from": "us", "to": "eu"}]), "us/c") == {
        "us/c": 0, "eu/a/1": 1, "eu/a/2": 1, "eu/b": 1, "asia/d": 2,
    }  # fmt: skip


def test_zones_do_not_count_where_regions_do() -> None:
    policy = {**WATCHED, "loadBalancer": {"zoneAwareLbSetting": {"failover": [{"from": "eu", "to": "asia"}]}}}
    assert by_place(policy, "eu/a/1") == {"eu/a/1": 0, "eu/a/2": 0, "eu/b": 0, "asia/d": 1, "us/c": 2}


LABELLED = endpoints(
    ("both", "eu/a", {"version": "1", "stage": "x"}, 2),
    ("version", "eu/a", {"version": "1", "stage": "y"}, 3),
    ("stage", "eu/a", {"version": "2", "stage": "x"}, 1),
    ("far", "us/c", {"version": "1", "stage": "x"}, 1),
)


def test_labels_in_order() -> None:
    own = {"version": "1", "stage": "x"}
    assert groups(setting(failoverPriority=["version", "stage"]), "eu/a", LABELLED, own) == [
        ("eu/a", 0, 2, ["both"]), ("eu/a", 1, 3, ["version"]), ("eu/a", 2, 1, ["stage"]), ("us/c", 0, 1, ["far"]),
    ]  # fmt: skip


def test_a_value_of_its_own_goes_before_the_proxys() -> None:
    found = groups(setting(failoverPriority=["version=2"]), "eu/a", LABELLED, {"version": "1"})
    assert found == [
        ("eu/a", 0, 1, ["stage"]), ("eu/a", 1, 5, ["both", "version"]), ("us/c", 1, 1, ["far"]),
    ]  # fmt: skip


def test_where_it_runs_is_a_label_too() -> None:
    found = groups(setting(failoverPriority=["topology.kubernetes.io/region"]), "us", LABELLED, {})
    assert {place: priority for place, priority, _, _ in found} == {"us/c": 0, "eu/a": 1}


def test_labels_and_regions_together() -> None:
    policy = setting(failoverPriority=["version"], failover=[{"from": "eu", "to": "us"}])
    found = groups(policy, "eu/a", LABELLED, {"version": "2"})
    assert found == [
        ("eu/a", 0, 1, ["stage"]), ("eu/a", 1, 5, ["both", "version"]), ("us/c", 2, 1, ["far"]),
    ]  # fmt: skip


def test_another_network_is_worse_than_any_other_label() -> None:
    network = "topology.istio.io/network"
    found = endpoints(("here", "", {network: "n", "version": "2"}, 1), ("there", "", {network: "m", "version": "1"}, 1))
    policy = setting(failoverPriority=[network, "version"])
    assert groups(policy, "", found, {network: "n", "version": "1"}) == [("", 0, 1, ["here"]), ("", 1, 1, ["there"])]


def test_shares() -> None:
    heavy = endpoints(*((place, place, {}, weight) for place, weight in zip(PLACES, (1, 3, 1, 1, 1), strict=True)))
    policy = {
        "loadBalancer": {
            "localityLbSetting": {
                "distribute": [
                    {"from": "us/*", "to": {"us": 100}},
                    {"from": "eu/a/*", "to": {"eu/a/*": 70, "us": 30}},
                ]
            }
        }
    }
    assert groups(policy, "eu/a/9", heavy) == [
        ("eu/a/1", 0, 18, ["eu/a/1"]), ("eu/a/2", 0, 53, ["eu/a/2"]), ("us/c", 0, 30, ["us/c"]),
    ]  # fmt: skip
    assert [place for place, *_ in groups(policy, "us/c", heavy)] == ["us/c"]
    assert {weight for _, _, weight, _ in groups(policy, "asia", ONE_EACH)} == {1}


def test_callers_differ_only_in_what_counts() -> None:
    def seen(policy: dict[str, Any], here: str, **own: str) -> Any:
        said = preference(effective(TrafficPolicy.model_validate(policy, by_alias=True, by_name=False), None, 80))
        return standpoint(said, Locality.parse(here), own)

    assert seen({"tls": {}}, "eu/a") is None
    assert seen(WATCHED, "eu/a", version="1") == seen(WATCHED, "eu/a", version="2") != seen(WATCHED, "eu/b")
    by_label = setting(failoverPriority=["version"])
    assert seen(by_label, "eu/a", version="1") == seen(by_label, "us", version="1") != seen(by_label, "us", version="2")


@pytest.mark.parametrize(
    ("here", "place", "wanted"),
    [
        ("eu/a/1", "*", True), ("eu/a/1", "eu", True), ("eu/a/1", "eu/*", True), ("eu/a/1", "eu/a/2", False),
        ("eu", "eu/a", False), ("", "eu", False), ("", "*", True),
    ],
)  # fmt: skip
def test_within(here: str, place: str, wanted: bool) -> None:
    assert within(Locality.parse(here), place) is wanted
