"""The real Envoy takes everything that the golden cases and the stories render."""

from __future__ import annotations

from typing import Any

import pytest
from cases import CASES, STORIES, compiled, story
from legation.local import static
from legation.local.verdict import verdict
from legation.model.proxy import Client

pytestmark = [pytest.mark.envoy, pytest.mark.xdist_group("accepted")]

EVERYTHING = {str(case): compiled(case).snapshot for case in CASES if case.proxy.client is Client.ENVOY} | {
    f"{path.name} as a {role}": story(path, role).snapshot for path in STORIES for role in ("gateway", "sidecar")
}


def test_envoy_takes_all_of_it() -> None:
    """In one start; only if that fails, one by one, so that the culprits are named."""
    configured = {name: static.bootstrap(snapshot) for name, snapshot in EVERYTHING.items()}
    if verdict(static.together(configured.values())):
        said = {name: words for name, one in configured.items() if (words := verdict(one))}
        assert said == {}
        pytest.fail("each is accepted alone, and all together are not")


def listener(one: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = one["static_resources"]["listeners"][0]
    return made


@pytest.mark.parametrize("where", ["route", "cluster", "endpoint"])
def test_envoy_would_have_said_so(where: str) -> None:
    """A fault in any part of one configuration is found among all of them: nothing is looked at only on the surface."""
    configured = {name: static.bootstrap(snapshot) for name, snapshot in EVERYTHING.items()}
    one = configured["destinations/subset"]
    match where:
        case "route":
            manager = listener(one)["filter_chains"][0]["filters"][0]["typed_config"]
            domains = manager["route_config"]["virtual_hosts"][0]["domains"]
            domains += domains
            told = "Only a single wildcard domain is permitted"
        case "cluster":
            one["static_resources"]["clusters"][0]["connect_timeout"] = "0s"
            told = "ConnectTimeout: value must be greater than 0s"
        case _:
            assignment = one["static_resources"]["clusters"][0]["load_assignment"]
            endpoint = assignment["endpoints"][0]["lb_endpoints"][0]["endpoint"]
            endpoint["address"]["socket_address"]["address"] = "books.example"
            told = "malformed IP address: books.example"
    assert told in verdict(static.together(configured.values()))
