"""What a DestinationRule says happens, with real traffic through a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from .mesh import Answer, Mesh, Place, Proxy, binomial, document, eventually, free_port, service

pytestmark = pytest.mark.envoy

HOST = "red.test"
CLUSTER = f"outbound|80||{HOST}"


def policy(*, name: str = "red", subsets: list[Any] | None = None, **blocks: Any) -> dict[str, Any]:
    """A DestinationRule for the service."""
    spec: dict[str, Any] = {"host": HOST}
    if blocks:
        spec["trafficPolicy"] = blocks
    return document("DestinationRule", name, {**spec, **({"subsets": subsets} if subsets else {})})


def balancer(**fields: Any) -> dict[str, Any]:
    return policy(loadBalancer=fields)


def workload(answer: Answer) -> str:
    return answer.workload


@dataclass
class Called:
    """A service with workloads w0, w1, …, a caller's sidecar, and the place at which it asks for the service."""

    mesh: Mesh
    proxy: Proxy
    ports: list[int]

    @property
    def place(self) -> Place:
        return self.proxy.at(80)

    async def rule(self, *documents: Mapping[str, Any]) -> None:
        """Puts rules in force, in place of those before."""
        before = (await self.mesh.proxies())[0]["types"]["cds"]["acked"]
        self.mesh.write("rule.yaml", *documents)

        async def now() -> str:
            (proxy,) = await self.mesh.at_rest(1)
            return str(proxy["types"]["cds"]["acked"])

        await eventually(now, lambda acked: acked != before)

    async def ask(self, **headers: str) -> Answer:
        return await self.place.ask(host=HOST, **headers)

    async def tally(self, count: int, **headers: str) -> Counter[str]:
        return await self.place.tally(count, workload, host=HOST, **headers)

    async def stat(self, name: str, cluster: str = CLUSTER) -> int:
        """What Envoy has counted for a cluster of the service."""
        return await self.proxy.stat(cluster, name)

    async def cluster(self, name: str = CLUSTER) -> dict[str, Any]:
        """The cluster, as Envoy has it."""
        _, text = await self.proxy.envoy.ask("/config_dump?resource=dynamic_active_clusters")
        found = [entry["cluster"] for entry in json.loads(text).get("configs", ())]
        return next(cluster for cluster in found if cluster["name"] == name)


@contextlib.asynccontextmanager
async def calling(mesh: Mesh, count: int = 3, rule: Mapping[str, Any] | None = None) -> AsyncIterator[Called]:
    ports = [await mesh.stand_in(f"w{number}") for number in range(count)]
    mesh.write("services.yaml", service("red", *ports))
    if rule is not None:
        mesh.write("rule.yaml", rule)
    await mesh.serve()
    called = Called(mesh, await mesh.sidecar(80), ports)
    await called.place.status(200, host=HOST)
    yield called


# --- balancing ----------------------------------------------------------------------------------------------------


async def test_every_plain_balancer_reaches_all(single: Mesh) -> None:
    async with calling(single, rule=balancer(simple="RANDOM")) as called:
        for simple in ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"):
            await called.rule(balancer(simple=simple))
            assert (await called.cluster()).get("lb_policy", "ROUND_ROBIN") == simple
            tally = await called.tally(90)
            assert set(tally) == {"w0", "w1", "w2"}
            if simple == "ROUND_ROBIN":
                assert max(tally.values()) - min(tally.values()) <= 6  # two threads turn, each for itself
            else:
                assert all(count in binomial(90, 1 / 3) for count in tally.values())


async def test_passthrough_goes_nowhere_where_nothing_is_captured(single: Mesh) -> None:
    async with calling(single, 1) as called:
        await called.rule(balancer(simple="PASSTHROUGH"))
        assert (await called.ask()).status == 503
        await called.rule(balancer(simple="RANDOM"))
        assert (await called.ask()).status == 200


# --- hashing ------------------------------------------------------------------------------------------------------

KEYS = [str(number) for number in range(20)]


async def sticky(called: Called, path: str = "/?user={}", **headers: str) -> set[str]:
    """The workloads that were reached; fails if one key reached several."""
    reached = set()
    for key in KEYS:
        filled = {name: value.format(key) for name, value in headers.items()}
        tally = await called.place.tally(4, workload, path.format(key), HOST, **filled)
        assert len(tally) == 1, (key, tally)
        reached |= set(tally)
    return reached


@pytest.mark.parametrize("how", [{}, {"maglev": {"tableSize": 251}}, {"ringHash": {"minimumRingSize": 64}}], ids=str)
async def test_a_header_leads_to_the_same_endpoint(single: Mesh, how: dict[str, Any]) -> None:
    async with calling(single, rule=balancer(consistentHash={"httpHeaderName": "x-user", **how})) as called:
        assert len(await sticky(called, x_user="{}")) > 1
        assert len(await called.tally(60)) == 3  # nothing to tell requests apart by: chance decides


async def test_a_query_parameter_leads_to_the_same_endpoint(single: Mesh) -> None:
    async with calling(single, rule=balancer(consistentHash={"httpQueryParameterName": "user"})) as called:
        assert len(await sticky(called)) > 1


async def test_a_source_address_leads_to_the_same_endpoint(single: Mesh) -> None:
    async with calling(single, rule=balancer(consistentHash={"useSourceIp": True})) as called:
        assert len(await called.tally(40)) == 1


async def test_a_cookie_is_made_and_leads_back(single: Mesh) -> None:
    cookie = {"name": "session", "path": "/p", "ttl": "60s", "attributes": [{"name": "SameSite", "value": "Lax"}]}
    async with calling(single, rule=balancer(consistentHash={"httpCookie": cookie})) as called:
        reached = set()
        for _ in range(20):
            first = await called.ask()
            made, *attributes = first.headers["set-cookie"].split("; ")
            assert made.startswith("session=")
            assert {"Max-Age=60", "Path=/p", "SameSite=Lax"} <= set(attributes)
            again = [await called.ask(cookie=made.replace('"', "")) for _ in range(4)]
            assert {answer.workload for answer in again} == {first.workload}
            assert not any("set-cookie" in answer.headers for answer in again)
            reached.add(first.workload)
        assert len(reached) > 1


async def test_a_port_without_a_hash_has_none_and_a_subset_may_have_its_own(single: Mesh) -> None:
    hashed = {"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}}
    subset = {"name": "all", "trafficPolicy": {"loadBalancer": {"consistentHash": {"httpQueryParameterName": "user"}}}}
    of_port = {"port": {"number": 80}, "loadBalancer": {"simple": "ROUND_ROBIN"}}
    async with calling(single, rule=policy(subsets=[subset], **hashed)) as called:
        await sticky(called, "/", x_user="{}")
        await called.rule(policy(subsets=[subset], **hashed, portLevelSettings=[of_port]))
        assert len(await called.tally(30, x_user="1")) == 3
        to_subset = {"hosts": [HOST], "http": [{"route": [{"destination": {"host": HOST, "subset": "all"}}]}]}
        single.write("route.yaml", document("VirtualService", "red", to_subset))
        await eventually(lambda: called.stat("upstream_rq_total", f"outbound|80|all|{HOST}"), _asked(called))
        assert len(await sticky(called)) > 1


def _asked(called: Called) -> Any:
    tasks: list[asyncio.Task[Answer]] = []

    def is_used(count: int) -> bool:
        tasks.append(asyncio.create_task(called.ask()))
        return count > 0

    return is_used


# --- ejection -----------------------------------------------------------------------------------------------------

ONCE = {"consecutive5xxErrors": 1, "baseEjectionTime": "60s", "maxEjectionPercent": 100}
"""One error is enough, for everyone: of fewer than ten endpoints Envoy's default of a tenth would eject none."""


async def eject(called: Called, status: int = 503) -> str:
    """Has one endpoint answer with an error, and returns once it is left alone: its name."""
    before = await called.stat("outlier_detection.ejections_active")
    answer = await called.ask(x_stand_in_status=str(status))
    assert answer.status == status
    await eventually(lambda: called.stat("outlier_detection.ejections_active"), lambda count: count > before)
    return str(answer.json["workload"])


async def left(called: Called, wanted: set[str]) -> None:
    """Returns once only these are asked, by all of Envoy's threads."""
    await eventually(lambda: called.tally(20), lambda tally: set(tally) == wanted)
    assert set(await called.tally(20)) == wanted


async def test_an_endpoint_that_fails_is_left_alone(single: Mesh) -> None:
    async with calling(single, rule=policy(outlierDetection=ONCE)) as called:
        remaining = {"w0", "w1", "w2"}
        for _ in range(2):
            remaining -= {await eject(called)}
            await left(called, remaining)
        await eject(called)
        await called.place.status(503, host=HOST)  # all have failed, and nobody is asked out of despair
        assert (await called.ask()).body == b"no healthy upstream"
        single.write("rule.yaml", policy(outlierDetection={**ONCE, "minHealthPercent": 50}))
        await called.place.status(200, host=HOST)

        async def ejected() -> int:
            await called.ask(x_stand_in_status="503")
            return await called.stat("outlier_detection.ejections_active")

        await eventually(ejected, lambda count: count == 3)
        await left(called, {"w0", "w1", "w2"})  # fewer than half are left, so all of them are asked


async def test_which_errors_count_can_be_said(single: Mesh) -> None:
    once = {**ONCE, "outlierDetectionHttpErrorCodes": [429, 418]}
    async with calling(single, rule=policy(outlierDetection=once)) as called:
        await called.tally(9, x_stand_in_status="503")
        assert await called.stat("outlier_detection.ejections_active") == 0
        assert set(await called.tally(30)) == {"w0", "w1", "w2"}
        await left(called, {"w0", "w1", "w2"} - {await eject(called, 418)})


async def test_gateway_errors_count_apart(single: Mesh) -> None:
    once = {**ONCE, "consecutiveGatewayErrors": 1, "consecutive5xxErrors": 0}
    async with calling(single, rule=policy(outlierDetection=once)) as called:
        await called.tally(9, x_stand_in_status="500")
        assert await called.stat("outlier_detection.ejections_active") == 0
        await left(called, {"w0", "w1", "w2"} - {await eject(called, 502)})


# --- connections --------------------------------------------------------------------------------------------------


def pool(**settings: Any) -> dict[str, Any]:
    return policy(connectionPool=settings)


async def test_what_is_too_much_is_refused_at_once(single: Mesh) -> None:
    bounds = pool(tcp={"maxConnections": 1}, http={"http1MaxPendingRequests": 1})
    async with calling(single, 1, bounds) as called:
        answers = await asyncio.gather(*(called.ask(x_stand_in_delay="0.5") for _ in range(12)))
        statuses = Counter(answer.status for answer in answers)
        assert set(statuses) == {200, 503}
        assert statuses[200] <= 4  # one each on two threads, and as many that wait
        assert {answer.headers.get("x-envoy-overloaded") for answer in answers if answer.status == 503} == {"true"}
        assert await called.stat("upstream_rq_pending_overflow") > 0
        await called.rule(policy(loadBalancer={"simple": "RANDOM"}))
        answers = await asyncio.gather(*(called.ask(x_stand_in_delay="0.5") for _ in range(12)))
        assert {answer.status for answer in answers} == {200}


async def test_requests_at_a_time_are_bounded(single: Mesh) -> None:
    async with calling(single, 1, pool(http={"http2MaxRequests": 1})) as called:
        answers = await asyncio.gather(*(called.ask(x_stand_in_delay="0.5") for _ in range(8)))
        refused = [answer for answer in answers if answer.status == 503]
        assert refused
        assert all(answer.headers.get("x-envoy-overloaded") for answer in refused)


@contextlib.contextmanager
def deaf() -> Any:
    """A port to which no connection is ever made: nobody takes those that wait."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", free_port()))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


async def test_connecting_takes_no_longer_than_it_may(single: Mesh) -> None:
    with deaf() as port:
        async with calling(single, 1, pool(tcp={"connectTimeout": "150ms"})) as called:
            single.write("services.yaml", service("red", port))
            answer = await called.place.status(503, host=HOST)
            assert answer.seconds < 5  # three tries; the default is ten seconds for each
            assert await called.stat("upstream_cx_connect_timeout") >= 1


@dataclass
class Server:
    """A server of HTTP/1.1 that says who asked, and knows what it was asked over."""

    port: int
    connections: list[bytes]


@contextlib.asynccontextmanager
async def server(begins: bool = False) -> AsyncIterator[Server]:
    """With `begins`, connections begin with a line of their own."""
    connections: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(await reader.readline() if begins else b"")
        with contextlib.suppress(OSError, EOFError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    running = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield Server(running.sockets[0].getsockname()[1], connections)
    finally:
        running.close()


async def test_a_connection_may_carry_one_request_only(single: Mesh) -> None:
    async with server() as listening:
        single.write("services.yaml", service("red", listening.port))
        async with calling(single, 1, pool(http={"maxRequestsPerConnection": 1})) as called:
            single.write("services.yaml", service("red", listening.port))
            await called.place.answers(lambda answer: answer.body == b"ok", host=HOST)
            before = len(listening.connections)
            for _ in range(5):
                assert (await called.ask()).status == 200
            assert len(listening.connections) == before + 5


async def test_a_connection_says_who_it_is_for(single: Mesh) -> None:
    async with server(begins=True) as listening, calling(single, 1) as called:
        single.write("services.yaml", service("red", listening.port))
        await called.rule(policy(proxyProtocol={"version": "V1"}))
        await called.place.answers(lambda answer: answer.body == b"ok", host=HOST)
        assert listening.connections[-1].startswith(b"PROXY TCP4 127.")


async def test_every_bound_arrives(single: Mesh) -> None:
    """What shows in no single request: Envoy has it as it was said."""
    whole = policy(
        connectionPool={
            "tcp": {
                "maxConnections": 5, "connectTimeout": "2s", "maxConnectionDuration": "1h", "idleTimeout": "30s",
                "tcpKeepalive": {"probes": 3, "time": "75s", "interval": "500ms"},
            },
            "http": {
                "http1MaxPendingRequests": 6, "http2MaxRequests": 7, "maxRetries": 8, "idleTimeout": "20s",
                "h2UpgradePolicy": "UPGRADE", "maxConcurrentStreams": 9, "maxRequestsPerConnection": 10,
                "http2KeepAlive": {"interval": "3s", "timeout": "1s"},
            },
        },
        retryBudget={"percent": 30, "minRetryConcurrency": 4, "budgetInterval": "5s"},
        loadBalancer={"simple": "ROUND_ROBIN", "warmup": {"duration": "30s", "minimumPercent": 20, "aggression": 2}},
    )  # fmt: skip
    async with calling(single, 1) as called:
        await called.rule(whole)
        cluster = await called.cluster()
        (bounds,) = cluster["circuit_breakers"]["thresholds"]
        assert bounds == {
            "max_connections": 5, "max_pending_requests": 6, "max_requests": 7, "max_retries": 8,
            "retry_budget": {
                "budget_percent": {"value": 30}, "min_retry_concurrency": 4, "budget_interval": "5s",
            },
        }  # fmt: skip
        assert cluster["connect_timeout"] == "2s"
        keepalive = {"keepalive_probes": 3, "keepalive_time": 75, "keepalive_interval": 1}
        assert cluster["upstream_connection_options"]["tcp_keepalive"] == keepalive
        (options,) = cluster["typed_extension_protocol_options"].values()
        assert options["common_http_protocol_options"] == {
            "idle_timeout": "20s", "max_requests_per_connection": 10, "max_connection_duration": "3600s",
        }  # fmt: skip
        assert options["explicit_http_config"]["http2_protocol_options"] == {
            "max_concurrent_streams": 9, "connection_keepalive": {"interval": "3s", "timeout": "1s"},
        }  # fmt: skip
        slowly = cluster["round_robin_lb_config"]["slow_start_config"]
        assert slowly["slow_start_window"] == "30s"
        assert slowly["min_weight_percent"] == {"value": 20}
        assert slowly["aggression"]["default_value"] == 2


# --- where things run ---------------------------------------------------------------------------------------------

PLACES = ("eu/a/1", "eu/b", "us/c")


@contextlib.asynccontextmanager
async def placed(mesh: Mesh, here: str, rule: Mapping[str, Any], **labels: str) -> AsyncIterator[Called]:
    """w0 in eu/a/1, w1 in eu/b, w2 in us/c; each with a label `stage` of its number. The caller runs `here`."""
    ports = [await mesh.stand_in(f"w{number}") for number in range(len(PLACES))]
    red = service("red", *ports)
    for number, (endpoint, place) in enumerate(zip(red["spec"]["endpoints"], PLACES, strict=True)):
        endpoint.update(locality=place, labels={"stage": f"s{number}"})
    mesh.write("services.yaml", red)
    mesh.write("rule.yaml", rule)
    await mesh.serve()
    called = Called(mesh, await mesh.sidecar(80, locality=here, **labels), ports)
    await called.place.status(200, host=HOST)
    yield called


async def test_what_is_near_is_preferred_and_what_is_far_takes_over(mesh: Mesh) -> None:
    async with placed(mesh, "eu/a/1", policy(outlierDetection=ONCE)) as called:
        for name in ("w0", "w1", "w2"):
            await left(called, {name})
            assert await eject(called) == name


async def test_a_region_takes_over_from_another(single: Mesh) -> None:
    failover = {"localityLbSetting": {"failover": [{"from": "asia", "to": "us"}]}}
    async with placed(single, "asia", policy(outlierDetection=ONCE, loadBalancer=failover)) as called:
        await left(called, {"w2"})
        await eject(called)
        await left(called, {"w0", "w1"})


async def test_labels_say_who_is_preferred(single: Mesh) -> None:
    by_label = {"localityLbSetting": {"failoverPriority": ["stage"]}}
    rule = policy(outlierDetection=ONCE, loadBalancer=by_label)
    async with placed(single, "eu/a/1", rule, stage="s1") as called:
        await left(called, {"w1"})
        await eject(called)
        await left(called, {"w0", "w2"})


async def test_traffic_is_spread_as_it_is_said(single: Mesh) -> None:
    spread = {"localityLbSetting": {"distribute": [{"from": "eu/*", "to": {"eu/a/1": 80, "us/c": 20}}]}}
    async with placed(single, "eu/z", balancer(**spread)) as called:
        tally = await called.tally(200)
        assert set(tally) == {"w0", "w2"}
        assert tally["w2"] in binomial(200, 0.2)


async def test_a_service_may_ask_for_callers_of_its_zone(mesh: Mesh) -> None:
    async with placed(mesh, "eu/b/7", balancer(simple="ROUND_ROBIN")) as called:
        assert set(await called.tally(20)) == {"w0", "w1", "w2"}
        red = service("red", *called.ports)
        endpoints = red["spec"]["endpoints"]
        for endpoint, place in zip(endpoints, PLACES, strict=True):
            endpoint.update(locality=place)
        red["metadata"]["annotations"] = {"networking.istio.io/traffic-distribution": "PreferSameZone"}
        mesh.write("services.yaml", red)
        await left(called, {"w1"})
        del endpoints[1]  # nobody watches failures, but who is not there cannot be asked
        mesh.write("services.yaml", red)
        await left(called, {"w0"})
        mesh.write("rule.yaml", balancer(localityLbSetting={"enabled": False}))
        await left(called, {"w0", "w2"})


async def test_it_does_not_matter_where_one_runs_until_a_rule_says_so(single: Mesh) -> None:
    async with placed(single, "us/c", balancer(simple="ROUND_ROBIN")) as called:
        assert set(await called.tally(20)) == {"w0", "w1", "w2"}
        single.write("rule.yaml", policy(outlierDetection=ONCE))
        await left(called, {"w2"})


async def test_a_rule_holds_for_the_callers_that_it_selects(single: Mesh) -> None:
    chosen = policy(name="chosen", connectionPool={"http": {"http2MaxRequests": 1}})
    chosen["spec"]["workloadSelector"] = {"matchLabels": {"app": "chosen"}}
    async with calling(single, 1, chosen) as called:
        other = await single.sidecar(80, name="chosen", app="chosen")
        await other.at(80).status(200, host=HOST)
        for proxy, refused in ((called.proxy, False), (other, True)):
            asked = (proxy.at(80).ask(host=HOST, x_stand_in_delay="0.5") for _ in range(8))
            statuses = {answer.status for answer in await asyncio.gather(*asked)}
            assert (503 in statuses) is refused
