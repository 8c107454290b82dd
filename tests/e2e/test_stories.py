"""Every folder below configs/ does what it says on top: run as a user runs it, asked through real Envoys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from legation.bootstrap import Variant
from legation.local.stand_in import StandIn, Workload

from .mesh import CONFIGS, Answer, Place, binomial, clean_environment, eventually, free_port, story

pytestmark = pytest.mark.envoy

TICK = 0.005
"""Envoy's timers count milliseconds, so a delay may end a little before its time."""

TOLD: set[str] = set()
"""The stories that a test of this file runs."""


def tells(name: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Marks the test of a story."""
    TOLD.add(name)
    return lambda test: test


def version(answer: Answer) -> str:
    return answer.version


def elsewhere(name: str, tmp_path: Path, *ports: int) -> Path:
    """A copy of a story whose endpoints on this machine have ports of the test's own; the folder that it is in."""
    shutil.copytree(CONFIGS / name, tmp_path / name)
    for port in ports:
        own = str(free_port())
        for path in (tmp_path / name).glob("*.yaml"):
            path.write_text(re.sub(rf"\b{port}\b", own, path.read_text()))
    return tmp_path


def scaled(workload: str, replicas: int) -> Callable[[str], str]:
    """The edit that gives a Deployment so many replicas."""
    return lambda text: re.sub(rf"(name: {workload}\nspec:\n  replicas: )\d+", rf"\g<1>{replicas}", text)


async def versions(place: Place, wanted: set[str], host: str) -> None:
    """Returns once twenty answers in a row came from these versions, each of them at least once."""
    await eventually(lambda: place.tally(20, version, host=host), lambda found: set(found) == wanted)


def test_every_story_is_told_and_says_how_to_run_it() -> None:
    folders = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    assert folders == TOLD
    for name in folders:
        texts = "".join(path.read_text() for path in (CONFIGS / name).rglob("*.yaml"))
        assert re.search(rf"^#   legation (run|serve) configs/{name}\b", texts, re.MULTILINE), name
        assert re.search(r"^#   .*curl ", texts, re.MULTILINE), name


@tells("bookinfo")
async def test_bookinfo_opens_five_paths_of_one_host_and_nothing_else(variant: Variant) -> None:
    async with story("bookinfo", variant) as told:
        gateway = told.at("gateway", "books.example")
        for path in ("/productpage", "/login", "/logout", "/static", "/static/style.css", "/api/v1/products/1?a=b"):
            answer = await gateway.ask(path, "books.example")
            assert (answer.workload, answer.json["path"]) == ("productpage-v1", path)
        for path in ("/", "/productpage/", "/login/x", "/logou", "/Static", "/api/v1/product", "/admin"):
            assert (await gateway.ask(path, "books.example")).status == 404, path
        for host in ("other.example", "a.books.example", "books.example.org"):
            assert (await gateway.ask("/productpage", host)).status == 404, host
        assert (await gateway.ask("/productpage", f"books.example:{gateway.port}")).status == 200


@tells("bookinfo")
async def test_bookinfo_shows_jason_another_version_of_the_reviews(variant: Variant) -> None:
    async with story("bookinfo", variant) as told:
        sidecar = told.at("sidecar.default", "reviews")
        for host in ("reviews", "reviews.default", "reviews.default.svc.cluster.local", "reviews:9080"):
            assert (await sidecar.ask(host=host)).version == "v1"
            assert (await sidecar.ask(host=host, end_user="jason")).version == "v2"
            assert (await sidecar.ask(host=host, end_user="jasonx")).version == "v1"
        for service in ("details", "ratings", "productpage"):
            assert (await sidecar.ask(host=service)).workload == f"{service}-v1"
        assert (await sidecar.ask(host="nobody")).status == 502


@tells("bookinfo")
async def test_bookinfo_follows_an_edit_of_a_path_and_of_a_version(variant: Variant) -> None:
    async with story("bookinfo", variant) as told:
        gateway, sidecar = told.at("gateway", "books.example"), told.at("sidecar.default", "reviews")
        assert (await gateway.ask("/basket", "books.example")).status == 404
        told.edit("bookinfo.yaml", lambda text: text.replace("exact: /login", "exact: /basket"))
        await gateway.workload("productpage-v1", "/basket", "books.example")
        assert (await gateway.ask("/login", "books.example")).status == 404
        told.edit("bookinfo.yaml", lambda text: text.replace("subset: v1 ", "subset: v3 "))
        await sidecar.answers(lambda answer: answer.version == "v3", host="reviews")


@tells("reviews-canary")
async def test_a_canary_gets_one_request_in_a_hundred_however_many_replicas_it_has(variant: Variant) -> None:
    async with story("reviews-canary", variant) as told:
        place = told.at("sidecar.default", "reviews")
        believable = binomial(1800, 0.01, risk=1e-7)
        assert 0 not in believable
        tally = await place.tally(1800, version, host="reviews")
        assert tally["v2"] in believable
        assert tally["v1"] + tally["v2"] == 1800

        async def endpoints() -> str:
            """The version of the endpoints that the sidecar has taken."""
            (proxy,) = (await told.console.ask("/debug/proxies")).json
            return str(proxy["types"]["eds"]["acked"])

        before = await endpoints()
        told.edit("services.yaml", scaled("reviews-v2", 10))
        await eventually(endpoints, lambda now: now != before)
        tally = await place.tally(600, version, host="reviews")
        assert tally["v2"] in binomial(600, 0.01)
        assert tally["v1"] + tally["v2"] == 600

        swap = {"weight: 99": "weight: 0", "weight: 1\n": "weight: 100\n"}
        told.edit("rules.yaml", lambda text: re.sub("weight: (99|1\n)", lambda found: swap[found[0]], text))
        await versions(place, {"v2"}, "reviews")


@tells("kubernetes-only")
async def test_without_rules_the_share_of_a_version_is_its_share_of_the_replicas(variant: Variant) -> None:
    """Every endpoint weighs the same; requests one after the other find all of them idle, so chance alone decides."""
    async with story("kubernetes-only", variant) as told:
        place = told.at("sidecar.default", "reviews")
        tally = await place.tally(600, version, host="reviews")
        assert tally["v1"] in binomial(600, 3 / 4)
        assert tally["v1"] + tally["v2"] == 600

        async with place.under_load(host="reviews") as load:
            told.edit("services.yaml", scaled("reviews-v3", 1))
            await versions(place, {"v1", "v2", "v3"}, "reviews")
        assert not load.failures
        tally = await place.tally(600, version, host="reviews")
        for name, share in {"v1": 3 / 5, "v2": 1 / 5, "v3": 1 / 5}.items():
            assert tally[name] in binomial(600, share)
        assert sum(tally.values()) == tally["v1"] + tally["v2"] + tally["v3"]

        async with place.under_load(host="reviews") as load:
            everything = [scaled("reviews-v1", 0), scaled("reviews-v2", 0), scaled("reviews-v3", 3)]
            told.edit("services.yaml", lambda text: everything[2](everything[1](everything[0](text))))
            await versions(place, {"v3"}, "reviews")
            await load.more(100)
        assert not load.failures


@tells("sentiment")
async def test_sentiment_sends_three_groups_of_paths_to_three_services(variant: Variant) -> None:
    async with story("sentiment", variant) as told:
        gateway = told.at("gateway", "")
        expected = {
            "mood-frontend-v1": [
                "/", "/?a=b", "/static/", "/static/app.js", "/favicon.ico", "/a/b/logo.png", "/c.jpg", "/c.jpg?size=1"
            ],
            "mood-api-v1": ["/sentiment", "/sentiment/1"],
            "mood-feedback-v1": ["/feedback", "/feedback/42"],
        }  # fmt: skip
        for workload, paths in expected.items():
            for path in paths:
                for host in ("", "any.example"):
                    assert (await gateway.ask(path, host)).workload == workload, path
        for path in ("/elsewhere", "/static", "/c.gif", "/png", "/c.png/x", "/a/sentiment"):
            assert (await gateway.ask(path)).status == 404, path
        assert (await gateway.ask("/sentiment", method="POST")).json["method"] == "POST"


@tells("webserver")
async def test_a_rule_keeps_callers_on_one_version_and_without_it_they_see_both(variant: Variant) -> None:
    async with story("webserver", variant) as told:
        place = told.at("sidecar.default", "webserver")
        assert await place.tally(100, version, host="webserver") == {"v1": 100}
        told.edit("rules.yaml", lambda text: "# the rule is gone\n")
        await versions(place, {"v1", "v2"}, "webserver")
        tally = await place.tally(200, version, host="webserver")
        assert tally["v1"] in binomial(200, 1 / 2)
        assert tally["v1"] + tally["v2"] == 200


@tells("webserver-abort")
async def test_half_of_the_requests_are_aborted(variant: Variant) -> None:
    async with story("webserver-abort", variant) as told:
        place = told.at("sidecar.default", "webserver")
        tally = await place.tally(400, lambda answer: answer.status, host="webserver")
        assert tally[400] in binomial(400, 1 / 2)
        assert tally[400] + tally[200] == 400
        told.edit("rules.yaml", lambda text: text.replace("value: 50", "value: 100"))
        await eventually(
            lambda: place.tally(40, lambda answer: answer.status, host="webserver"), lambda found: found == {400: 40}
        )


@tells("webserver-delay")
async def test_every_request_is_delayed_until_the_fault_is_removed(variant: Variant) -> None:
    async with story("webserver-delay", variant) as told:
        place = told.at("sidecar.default", "webserver")
        for _ in range(3):
            answer = await place.ask(host="webserver")
            assert answer.version == "v1"
            assert answer.seconds >= 0.5 - TICK
        told.edit("rules.yaml", lambda text: text[: text.index("      fault:")])
        await place.answers(lambda answer: answer.version == "v1" and answer.seconds < 0.5, host="webserver")


@tells("two-sidecars")
async def test_a_rule_is_felt_through_the_callers_own_sidecar_only_where_it_rules(variant: Variant) -> None:
    arguments = ("--sidecar", "shop.front", "--sidecar", "warehouse.back")
    async with story("two-sidecars", variant, *arguments) as told:
        shop, warehouse = told.at("shop.front", "warehouse.back"), told.at("warehouse.back", "shop.front")
        for host in ("warehouse.back", "warehouse.back.svc.cluster.local"):
            answer = await shop.ask(host=host)
            assert answer.workload == "warehouse-v1"
            assert answer.seconds >= 0.3 - TICK
        for place, host, workload in ((warehouse, "shop.front", "shop-v1"), (shop, "shop", "shop-v1")):
            await place.answers(lambda answer: answer.seconds < 0.3 and answer.status == 200, host=host)
            assert (await place.ask(host=host)).workload == workload


@tells("calls-to-a-workload")
async def test_a_workloads_own_proxy_turns_away_what_is_too_much(variant: Variant, tmp_path: Path) -> None:
    source = elsewhere("calls-to-a-workload", tmp_path, 9180, 9190)
    written = (source / "calls-to-a-workload" / "mesh.yaml").read_text()
    port = re.search(r"number: (\d+), name: http, protocol: HTTP }\n +bind", written)
    assert port
    async with story("calls-to-a-workload", variant, source=source) as told:
        oven = Place(int(port[1]))
        assert (await oven.workload("oven")).headers["server"] == "istio-envoy"

        async def three() -> list[int]:
            return sorted(
                found.status for found in await asyncio.gather(*(oven.ask(x_stand_in_delay="1") for _ in range(3)))
            )

        assert await three() == [200, 503, 503]
        told.edit("mesh.yaml", lambda text: text.replace("http2MaxRequests: 1", "http2MaxRequests: 3"))
        await eventually(three, lambda found: found == [200, 200, 200])


@tells("egress-control")
@pytest.mark.xdist_group("egress-control")  # its ports are written in it
async def test_what_is_not_written_down_does_not_leave(variant: Variant) -> None:
    async with story("egress-control", variant) as told:
        place = told.at("sidecar.default", "weather.example")
        through, unread = Place(15002, place.address), Place(7000, place.address)
        assert "gossip.example" not in {host for _, host in told.places}, "it is not proposed"
        await place.workload("weather", host="weather.example")
        assert (await through.ask("http://weather.example:9000/", "weather.example:9000")).workload == "weather"
        assert (await unread.ask()).workload == "ledger"
        assert (await place.ask(host="gossip.example")).status == 502
        assert (await through.ask("http://unknown.example/", "unknown.example")).status == 502
        told.edit("mesh.yaml", lambda text: text.replace("- outside/weather", "- gossip/*\n        - outside/weather"))
        await place.workload("gossip", host="gossip.example")
        told.edit("mesh.yaml", lambda text: text.replace("REGISTRY_ONLY", "ALLOW_ANY"))
        console = f"localhost:{told.console.port}"
        await through.status(200, f"http://{console}/healthz", console)


async def test_a_port_that_a_service_calls_by_name_reaches_the_stand_in(variant: Variant, tmp_path: Path) -> None:
    """Of two services of one Deployment, one has its port's number and one its name."""
    text = (CONFIGS / "webserver" / "services.yaml").read_text()
    text = text.replace("targetPort: 8080", "targetPort: web", 1)
    text = text.replace("- containerPort: 8080", "- { name: web, containerPort: 8080 }")
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "services.yaml").write_text(text)
    async with story("named", variant, source=tmp_path) as told:
        await versions(told.at("sidecar.default", "webserver"), {"v1", "v2"}, "webserver")
        answer = await told.at("sidecar.default", "webserverv1").ask(host="webserverv1")
        assert (answer.version, answer.json["port"]) == ("v1", 8080)


@tells("canary-by-header")
async def test_a_header_a_cookie_and_a_query_each_show_the_canary(variant: Variant) -> None:
    async with story("canary-by-header", variant) as told:
        place = told.at("sidecar.default", "kettle")
        for path, headers, wanted in (
            ("/", {}, "v1"), ("/", {"x_canary": "always"}, "v2"), ("/", {"x_canary": "never"}, "v1"),
            ("/", {"cookie": "canary=yes"}, "v2"), ("/", {"cookie": "theme=dark; canary=yes; a=b"}, "v2"),
            ("/", {"cookie": "canary=yesterday"}, "v1"), ("/", {"cookie": "nocanary=yes"}, "v1"),
            ("/any?canary=yes", {}, "v2"), ("/?a=b&canary=yes", {}, "v2"), ("/?canary=no", {}, "v1"), ("/?canary", {}, "v1"),
        ):  # fmt: skip
            assert (await place.ask(path, "kettle", **headers)).version == wanted, (path, headers)
        told.edit(
            "rules.yaml", lambda text: text.replace("{ exact: always }", "{ exact: always }\n            x-me: {}")
        )
        await place.answers(lambda answer: answer.version == "v1", host="kettle", x_canary="always")
        assert (await place.ask(host="kettle", x_canary="always", x_me="1")).version == "v2"


@tells("blue-green")
async def test_blue_and_green_change_places_and_nobody_notices(variant: Variant) -> None:
    async with story("blue-green", variant) as told:
        live, preview = told.at("gateway", "florist.example"), told.at("gateway", "preview.florist.example")
        assert await live.tally(20, version, host="florist.example") == {"blue": 20}
        assert await preview.tally(20, version, host="preview.florist.example") == {"green": 20}
        swap = {"blue": "green", "green": "blue"}
        async with live.under_load(host="florist.example") as load:
            told.edit(
                "rules.yaml", lambda text: re.sub("subset: (blue|green)", lambda f: f"subset: {swap[f[1]]}", text)
            )
            await live.answers(lambda answer: answer.version == "green", host="florist.example")
            await preview.answers(lambda answer: answer.version == "blue", host="preview.florist.example")
            await load.more(50)
        assert not load.failures
        assert await live.tally(20, version, host="florist.example") == {"green": 20}


@tells("resilience")
async def test_what_fails_is_tried_again_and_what_hangs_is_given_up(variant: Variant) -> None:
    def attempts(answer: Answer) -> tuple[int, str, str]:
        return answer.status, answer.json["version"], answer.json["headers"]["x-envoy-attempt-count"]

    async with story("resilience", variant) as told:
        place = told.at("sidecar.default", "oven")
        assert attempts(await place.ask("/", "oven")) == (200, "v1", "1")
        assert attempts(await place.ask("/next", "oven")) == (503, "v2", "4")
        assert attempts(await place.ask("/", "oven", x_stand_in_status="500")) == (500, "v1", "1")
        assert attempts(await place.ask("/tries", "oven", x_stand_in_status="500")) == (500, "v1", "3")
        answer = await place.ask("/", "oven", x_stand_in_delay="5")
        assert answer.status == 504
        assert 1 - TICK <= answer.seconds < 5
        answer = await place.ask("/tries", "oven", x_stand_in_delay="5")
        assert answer.status == 504
        assert 0.6 - TICK <= answer.seconds < 5
        told.edit(
            "rules.yaml",
            lambda text: text.replace("attempts: 3\n        retryOn: 5xx\n        backoff: 5ms", "attempts: 0"),
        )
        await place.answers(lambda answer: attempts(answer) == (503, "v2", "1"), "/next", "oven")


@tells("mirroring")
async def test_copies_go_to_a_program_of_ones_own(variant: Variant, tmp_path: Path) -> None:
    seen: list[bytes] = []
    port = free_port()
    shutil.copytree(CONFIGS / "mirroring", tmp_path / "mirroring")
    rules = tmp_path / "mirroring" / "rules.yaml"
    rules.write_text(rules.read_text().replace("http: 9700", f"http: {port}"))

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 404 -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async def lines() -> list[bytes]:
        return [head.split(b"\r\n")[0] for head in seen]

    async with (
        await asyncio.start_server(note, "127.0.0.1", port),
        story("mirroring", variant, source=tmp_path) as told,
    ):
        place = told.at("sidecar.default", "till")
        assert (await place.ask("/receipts", "till")).workload == "till-v1"
        await eventually(lines, lambda found: found == [b"GET /receipts HTTP/1.1"])
        assert b"host: till\r\n" in seen[0].lower()
        assert await place.tally(50, lambda answer: answer.workload, host="till") == {"till-v1": 50}
        await eventually(lines, lambda found: len(found) == 51)
        told.edit("rules.yaml", lambda text: text.replace("value: 100", "value: 0"))

        async def uncopied() -> bool:
            before = len(seen)
            await place.tally(5, version, "/none", "till")
            await place.tally(5, version, "/more", "till")
            return len(seen) == before

        await eventually(uncopied, bool)


@tells("two-teams")
async def test_each_team_routes_its_own_paths_and_no_others(variant: Variant) -> None:
    async with story("two-teams", variant) as told:
        place, host = told.at("gateway", "market.example"), "market.example"
        for path, workload in (
            ("/fish/trout", "fish-stall"), ("/fish/frozen/1", "fish-freezer"), ("/fruit/apples", "fruit-stall"),
            ("/", "office"), ("/meat", "office"),
        ):  # fmt: skip
            assert (await place.ask(path, host)).workload == workload, path
        assert (await place.ask("/fish/trout", host, x_stand_in_delay="4")).status == 504
        told.edit(
            "fish.yaml", lambda text: text.replace("destination: { host: freezer }", "destnation: { host: freezer }")
        )
        await told.program.says(r"fish\.yaml:\d+:\d+: error: VirtualService fish/stall .*destnation")
        assert (await place.ask("/fish/frozen/1", host)).workload == "fish-freezer"
        more = "http:" + "".join(
            f"\n    - match: [{{ uri: {{ prefix: {path} }} }}]\n      directResponse: {{ status: {status} }}"
            for path, status in (("/fish", 500), ("/fruit/ripe", 404))
        )
        told.edit("fruit.yaml", lambda text: text.replace("http:", more, 1))
        await place.status(404, "/fruit/ripe", host)
        await told.program.says("IST0130|would never be reached here")
        assert (await place.ask("/fish/trout", host)).workload == "fish-stall"


@tells("headers-and-rewrites")
async def test_paths_hosts_and_headers_change_on_the_way(variant: Variant) -> None:
    async with story("headers-and-rewrites", variant) as told:
        place, host = told.at("gateway", "archive.example"), "archive.example"
        for path, arrives in (
            ("/v1/letters?a=b", "/letters?a=b"), ("/v1/", "/"), ("/box/12/letters", "/letters/of/12"),
            ("/box/x/letters", "/box/x/letters"), ("/letters", "/letters"),
        ):  # fmt: skip
            assert (await place.ask(path, host)).json["path"] == arrives, path
        assert (await place.ask("/inside", host)).json["headers"]["host"] == "vault.example"
        answer = await place.ask("/", host, x_secret="1", x_edge="mine")
        assert answer.json["headers"]["x-edge"] == "HTTP/1.1"
        assert "x-secret" not in answer.json["headers"]
        assert answer.headers["x-served-by"] == "archive"
        answer = await place.ask("/old/letters?a=b", host)
        assert (answer.status, answer.headers["location"]) == (308, "http://archive.example/v1/letters?a=b")
        answer = await place.ask("/health", host)
        assert (answer.status, answer.body) == (200, b"fine\n")


@tells("cors")
async def test_a_browser_of_one_other_origin_may_call(variant: Variant) -> None:
    async with story("cors", variant) as told:
        place, host = told.at("gateway", "scores.example"), "scores.example"
        for origin, fits in (
            ("https://club.example", True),
            ("https://a.club.example", True),
            ("https://other.example", False),
        ):
            asked = await place.ask("/", host, method="OPTIONS", origin=origin, access_control_request_method="PUT")
            assert (asked.status, asked.body) == (200, b""), origin
            assert asked.headers.get("access-control-allow-origin") == (origin if fits else None), origin
            answer = await place.ask("/", host, origin=origin)
            assert answer.workload == "scores-v1"
            assert answer.headers.get("access-control-allow-origin") == (origin if fits else None), origin


@tells("secure-ingress")
async def test_two_hosts_have_their_own_certificates_and_clear_text_is_sent_to_them(variant: Variant) -> None:
    async with story("secure-ingress", variant) as told:
        place = told.at("gateway", "https://shop.example")
        for name in ("shop", "office"):
            answer = await place.ask("/basket", f"{name}.example", tls=told.client())
            assert (answer.workload, answer.json["path"]) == (f"{name}-v1", "/basket")
        answer = await told.at("gateway", "shop.example").ask("/basket", "shop.example")
        assert (answer.status, answer.headers["location"]) == (301, "https://shop.example/basket")
        old = told.client()
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        assert (await place.ask("/", "shop.example", tls=old)).status == 0


@tells("mutual-tls-edge")
async def test_only_who_shows_a_certificate_comes_in(variant: Variant) -> None:
    async with story("mutual-tls-edge", variant) as told:
        place = told.at("gateway", "https://api.example")
        known, unknown = told.client(known=True), told.client()
        answer = await place.ask("/", "api.example", tls=known, x_forwarded_client_cert="By=me")
        assert answer.workload == "api-v1"
        assert answer.json["headers"]["x-forwarded-client-cert"].startswith("Hash=")
        assert (await place.ask("/", "api.example", tls=unknown)).status == 0
        for client in (known, unknown):
            assert (await place.ask("/", "open.example", tls=client)).workload == "api-v1"


@tells("tls-and-tcp")
async def test_what_is_no_http_goes_by_name_and_by_weight(variant: Variant) -> None:
    async with story("tls-and-tcp", variant) as told:
        place = told.at("gateway", "https://vault.example")
        assert (await place.ask("/", "vault.example", tls=told.client())).workload == "vault-v1"
        assert (await place.ask("/", "queue.example", tls=told.client())).workload == "queue-v1"
        assert (await place.ask("/", "other.example", tls=told.client())).status == 0
        raw = told.at("gateway", "queue.example")
        tally = await raw.tally(200, lambda answer: answer.workload)
        assert tally["queue-v1"] in binomial(200, 3 / 4)
        assert tally["queue-v1"] + tally["queue-next-v1"] == 200
        told.edit("ingress.yaml", lambda text: text.replace("weight: 3", "weight: 0"))
        await eventually(
            lambda: raw.tally(20, lambda answer: answer.workload), lambda found: set(found) == {"queue-next-v1"}
        )


@tells("egress-gateway")
async def test_all_that_leaves_goes_through_one_gateway_which_encrypts_it(variant: Variant, tmp_path: Path) -> None:
    source = elsewhere("egress-gateway", tmp_path, 9180, 9443)
    port = re.search(r"https: (\d+)", (source / "egress-gateway" / "services.yaml").read_text())
    assert port
    async with story("egress-gateway", variant, source=source) as told:
        place, host = told.at("sidecar.default", "mint.example"), "mint.example"
        answer = await place.ask("/coins", host)
        assert (answer.workload, answer.json["path"], answer.json["port"]) == ("mint", "/coins", int(port[1]))
        assert answer.json["headers"]["x-left-by"] == "egress"
        assert (await told.at("egressgateway", host).ask("/coins", host)).workload == "mint"
        assert (await place.ask("/coins", "forge.example")).status == 502
        told.edit("rules.yaml", lambda text: text.replace("AltNames: [mint.", "AltNames: [forge."))
        await place.status(503, "/coins", host)
        told.edit("rules.yaml", lambda text: text.replace("AltNames: [forge.", "AltNames: [mint."))
        await place.workload("mint", "/coins", host)


@tells("tls-origination")
async def test_the_proxy_encrypts_for_a_program_that_cannot(variant: Variant, tmp_path: Path) -> None:
    source = elsewhere("tls-origination", tmp_path, 9280, 9281)
    port = re.search(r"https: (\d+)", (source / "tls-origination" / "rules.yaml").read_text())
    assert port
    async with story("tls-origination", variant, source=source) as told:
        place, host = told.at("sidecar.default", "weather.example"), "weather.example"
        answer = await place.ask("/today", host)
        assert (answer.workload, answer.json["path"], answer.json["port"]) == ("weather", "/today", int(port[1]))
        told.edit("rules.yaml", lambda text: text.replace("AltNames: [weather.", "AltNames: [climate."))
        await place.status(503, "/today", host)
        told.edit("rules.yaml", lambda text: text.replace("climate.", "weather."))
        await place.workload("weather", "/today", host)


@tells("virtual-machines")
async def test_machines_and_containers_share_a_service(variant: Variant, tmp_path: Path) -> None:
    source = elsewhere("virtual-machines", tmp_path, 9301, 9302)
    machines = (source / "virtual-machines" / "machines.yaml").read_text()
    first, second = (int(port) for port in re.findall(r"http: (\d+)", machines))
    async with story("virtual-machines", variant, source=source) as told:
        place = told.at("sidecar.default", "ledger")

        def where(answer: Answer) -> int:
            return int(answer.json["port"]) if answer.status == 200 else 0

        tally = await place.tally(400, where, host="ledger")
        assert set(tally) == {first, second, 9000}
        assert tally[9000] in binomial(400, 1 / 10)
        assert tally[second] in binomial(400, 9 / 10 * 3 / 4)
        told.edit("machines.yaml", lambda text: text[: text.index("---")])
        await eventually(lambda: place.tally(60, where, host="ledger"), lambda found: set(found) == {first, 9000})
        told.edit("rules.yaml", lambda text: text.replace("weight: 9", "weight: 0"))
        await eventually(lambda: place.tally(20, where, host="ledger"), lambda found: set(found) == {9000})


@tells("locality")
async def test_guests_go_no_further_than_they_must(variant: Variant, tmp_path: Path) -> None:
    """The inns of the region are programs of the test, and really go away."""
    source = elsewhere("locality", tmp_path, 9401, 9402, 9403, 9404)
    rules = source / "locality" / "inns.yaml"
    rules.write_text(rules.read_text().replace("baseEjectionTime: 10s", "baseEjectionTime: 1s"))
    ports = [int(port) for port in re.findall(r"http: (\d+)", rules.read_text())]

    async def inn(place: int) -> StandIn:
        version = ("north", "south")[place]
        return await StandIn.start(Workload("inn", {"version": version}), port=ports[place])

    async with contextlib.AsyncExitStack() as stack:
        north, south = await inn(0), await inn(1)
        stack.push_async_callback(south.stop)
        told = await stack.enter_async_context(story("locality", variant, "--locality", "eu/north", source=source))
        place, host = told.at("sidecar.default", "inn.example"), "inn.example"
        assert await place.tally(20, version, host=host) == {"north": 20}
        await north.stop()
        await place.answers(lambda answer: answer.version == "south", host=host)
        await south.stop()
        await place.answers(lambda answer: answer.version == "west", host=host)
        again = await inn(0)
        stack.push_async_callback(again.stop)
        await eventually(lambda: place.tally(20, version, host=host), lambda found: found == {"north": 20})


@tells("circuit-breaking")
async def test_who_is_too_many_or_fails_too_often_is_told_so_at_once(variant: Variant) -> None:
    async with story("circuit-breaking", variant) as told:
        place = told.at("sidecar.default", "kiosk")

        async def crowd() -> list[Answer]:
            return await asyncio.gather(*(place.ask(host="kiosk", x_stand_in_delay="0.3") for _ in range(12)))

        answers = await crowd()
        assert {answer.status for answer in answers} == {200, 503}
        assert all(answer.headers.get("x-envoy-overloaded") == "true" for answer in answers if answer.status == 503)
        assert await place.tally(20, lambda answer: answer.status, host="kiosk") == {200: 20}
        for _ in range(3):
            assert (await place.ask(host="kiosk", x_stand_in_status="500")).status == 500
        answer = await place.status(503, host="kiosk")
        assert answer.body == b"no healthy upstream"
        await place.status(200, host="kiosk")
        told.edit("rules.yaml", lambda text: re.sub("(maxConnections|PendingRequests): .", r"\1: 100", text))

        async def statuses() -> set[int]:
            return {answer.status for answer in await crowd()}

        await eventually(statuses, lambda found: found == {200})


@tells("proxyless-grpc")
async def test_proxyless_grpc_does_what_its_page_says_when_it_is_pasted(tmp_path: Path) -> None:
    """All commands of the page, one after the other, in one shell; the ports are the test's own."""
    shutil.copytree(CONFIGS / "proxyless-grpc", tmp_path / "configs" / "proxyless-grpc")
    page = (CONFIGS.parent / "docs" / "guide" / "proxyless-grpc.md").read_text()
    ports = {old: str(free_port()) for old in ("50061", "50062", "15010", "15014")}

    def moved(text: str) -> str:
        return re.sub("|".join(ports), lambda found: ports[found[0]], text)

    services = tmp_path / "configs" / "proxyless-grpc" / "services.yaml"
    services.write_text(moved(services.read_text()))
    lines = ["trap 'kill $(jobs -p)' EXIT"]
    for command in re.findall(r"^\$ (.*)$", page, re.MULTILINE):
        lines.append(moved(command))
        if port := re.search(r"till.py (\d+)", lines[-1]):
            lines.append(f"until (: > /dev/tcp/127.0.0.1/{port[1]}) 2> /dev/null; do sleep 0.05; done")
    server = f"127.0.0.1:{ports['15010']}"
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", "\n".join(lines), cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
        env={
            **clean_environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_STATE_HOME": str(tmp_path), "LEGATION_XDS": server, "LEGATION_SERVER": server,
            "LEGATION_HTTP": f"127.0.0.1:{ports['15014']}",
        },
    )  # fmt: skip
    try:
        async with asyncio.timeout(120):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
    counted = re.findall(r"^\d+ \w+(?:, \d+ \w+)*$", said.decode(), re.MULTILINE)
    assert len(counted) == 3, said
    assert int(counted[0].removesuffix(" v2").rpartition(" ")[2]) in binomial(100, 0.2, risk=1e-7)
    assert counted[1:] == ["100 v2", "100 PERMISSION_DENIED"]
