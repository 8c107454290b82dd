"""gRPC's own library, without a proxy, is routed as a sidecar would do it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from cases import CASES, Case
from legation.bootstrap import Options, Secure, for_grpc
from legation.model.proxy import Client, Role

from . import mesh as meshes
from .mesh import Mesh, binomial, clean_environment, document, eventually, free_port, subsets
from .test_channel import Channel

CALLER = Path(__file__).with_name("grpc_caller.py")
SERVER = Path(__file__).with_name("grpc_served.py")
TICK = 0.005


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call was answered: the name of who answered, or a status and gRPC's words for it."""

    status: str
    answer: str
    words: str
    seconds: float

    @property
    def outcome(self) -> str:
        return self.answer or self.status


class Caller:
    """The program of `grpc_caller.py`, one call after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, target: str = "xds:///till.test:80", **asked: Any) -> Reply:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"target": target, **asked}).encode() + b"\n")
        async with asyncio.timeout(40):
            return Reply(**json.loads(await self._process.stdout.readline()))

    async def until(self, wanted: Callable[[Reply], Any], target: str = "xds:///till.test:80", **asked: Any) -> Reply:
        """Calls until the outcome is the wanted one."""
        return await eventually(lambda: self.call(target, **asked), wanted)

    async def tally(self, count: int, target: str = "xds:///till.test:80", **asked: Any) -> Counter[str]:
        return Counter([(await self.call(target, **asked)).outcome for _ in range(count)])

    async def stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()


@dataclass(slots=True)
class Till:
    """A service that answers with its name, and does what the call's metadata say: sleep so long, fail so often."""

    name: str
    port: int = 0
    seen: list[dict[str, str]] = field(default_factory=list)

    async def ring(self, _: bytes, context: grpc.aio.ServicerContext) -> bytes:
        said = {key: str(value) for key, value in context.invocation_metadata()}
        self.seen.append(said)
        if "sleep" in said:
            await asyncio.sleep(float(said["sleep"]))
        if len(self.seen) <= int(said.get("fail", 0)):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return self.name.encode()


@dataclass(slots=True)
class Shop:
    """A mesh, tills, callers."""

    mesh: Mesh
    stack: contextlib.AsyncExitStack

    async def till(self, name: str) -> Till:
        made = Till(name)
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(made.ring)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Till", {"Ring": handler}),))
        made.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self.stack.push_async_callback(server.stop, None)
        return made

    async def caller(self, namespace: str = "default", xds: str = "", secure: Secure | None = None) -> Caller:
        options = Options(Role.SIDECAR, "caller", namespace, xds=xds or f"unix:{self.mesh.socket}", secure=secure)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(CALLER), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**clean_environment(), "GRPC_XDS_BOOTSTRAP_CONFIG": for_grpc(options)},
        )  # fmt: skip
        made = Caller(process)
        self.stack.push_async_callback(made.stop)
        return made


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with meshes.mesh() as mesh, contextlib.AsyncExitStack() as stack:
        yield Shop(mesh, stack)


def service(name: str, *ports: int, **versions: int) -> dict[str, Any]:
    made = meshes.service(name, *ports, **versions)
    made["spec"]["ports"][0]["protocol"] = "GRPC"
    return made


def rule(*http: dict[str, Any], host: str = "till.test") -> dict[str, Any]:
    return document("VirtualService", "till", {"hosts": [host], "http": list(http)})


def to(subset: str = "", weight: int = 0) -> dict[str, Any]:
    destination = {"host": "till.test", **({"subset": subset} if subset else {})}
    return {"destination": destination, **({"weight": weight} if weight else {})}


async def test_a_call_arrives_without_a_rule(shop: Shop) -> None:
    till = await shop.till("v1")
    shop.mesh.write("till.yaml", service("till", till.port))
    await shop.mesh.serve()
    reply = await (await shop.caller()).call()
    assert reply.outcome == "v1", reply


async def test_weights_and_headers_choose_and_a_new_rule_acts_on_the_channel_that_is_there(shop: Shop) -> None:
    one, two = await shop.till("v1"), await shop.till("v2")
    shop.mesh.write("till.yaml", service("till", v1=one.port, v2=two.port), subsets("till", v1="v1", v2="v2"))
    by_header = {"match": [{"headers": {"user": {"exact": "ann"}}}], "route": [to("v2")]}
    shop.mesh.write("rule.yaml", rule(by_header, {"route": [to("v1", 75), to("v2", 25)]}))
    await shop.mesh.serve()
    caller = await shop.caller()
    assert await caller.tally(20, metadata={"user": "ann"}) == {"v2": 20}
    found = await caller.tally(400, metadata={"user": "bob"})
    assert found.total() == 400
    assert found["v2"] in binomial(400, 0.25)
    shop.mesh.write("rule.yaml", rule({"route": [to("v2")]}))
    await eventually(lambda: caller.tally(20), lambda found: found == {"v2": 20})


async def test_a_timeout_ends_calls(shop: Shop) -> None:
    """Long, since the library counts by the processor's cycles: after hours in a virtual machine it is off by seconds."""
    till = await shop.till("v1")
    shop.mesh.write("till.yaml", service("till", till.port))
    shop.mesh.write("rule.yaml", rule({"timeout": "8s", "route": [to()]}))
    await shop.mesh.serve()
    caller = await shop.caller()
    assert (await caller.call()).outcome == "v1"
    slow = await caller.call(metadata={"sleep": "60"}, timeout=35)
    assert slow.status == "DEADLINE_EXCEEDED"
    assert slow.seconds < 30


async def test_retries_repeat_calls(shop: Shop) -> None:
    till = await shop.till("v1")
    shop.mesh.write("till.yaml", service("till", till.port))
    shop.mesh.write("rule.yaml", rule({"retries": {"attempts": 2, "retryOn": "unavailable"}, "route": [to()]}))
    await shop.mesh.serve()
    caller = await shop.caller()
    assert (await caller.call(metadata={"fail": "2"})).outcome == "v1"
    assert [said.get("grpc-previous-rpc-attempts") for said in till.seen] == [None, "1", "2"]
    till.seen.clear()
    assert (await caller.call(metadata={"fail": "3"})).status == "UNAVAILABLE"
    assert len(till.seen) == 3


async def test_faults_abort_and_delay(shop: Shop) -> None:
    till = await shop.till("v1")
    shop.mesh.write("till.yaml", service("till", till.port))
    everyone = {"value": 100}
    abort = {"abort": {"grpcStatus": "RESOURCE_EXHAUSTED", "percentage": everyone}}
    http = {"abort": {"httpStatus": 404, "percentage": everyone}}
    delay = {"delay": {"fixedDelay": "0.2s", "percentage": everyone}}
    rules = [
        {"match": [{"headers": {"fault": {"exact": name}}}], "fault": fault, "route": [to()]}
        for name, fault in (("grpc", abort), ("http", http), ("delay", delay))
    ]
    shop.mesh.write("rule.yaml", rule(*rules, {"route": [to()]}))
    await shop.mesh.serve()
    caller = await shop.caller()
    assert (await caller.call(metadata={"fault": "grpc"})).status == "RESOURCE_EXHAUSTED"
    assert (await caller.call(metadata={"fault": "http"})).status == "UNIMPLEMENTED"
    late = await caller.call(metadata={"fault": "delay"})
    assert late.outcome == "v1"
    assert late.seconds >= 0.2 - TICK
    assert len(till.seen) == 1
    assert (await caller.call()).outcome == "v1"


async def test_what_the_library_does_not_know_costs_nobody_else_anything(shop: Shop) -> None:
    """A redirect, an answer, a query, a mirror, rewrites, CORS, a weight to nobody: the others are routed."""
    till = await shop.till("v1")
    shop.mesh.write("till.yaml", service("till", till.port), subsets("till", v1="v1"))

    def by(path: str, **more: Any) -> dict[str, Any]:
        return {"match": [{"uri": {"prefix": f"/{path}."}}], **more}

    everything = {
        "mirror": {"host": "ghost.test"}, "rewrite": {"uri": "/x", "authority": "y"},
        "headers": {"request": {"set": {"a": "b"}}},
        "corsPolicy": {"allowOrigins": [{"exact": "http://a"}]}, "retries": {"attempts": 2, "retryOn": "5xx,connect-failure"},
    }  # fmt: skip
    shop.mesh.write(
        "rule.yaml",
        rule(
            {"match": [{"queryParams": {"a": {"exact": "b"}}}], "directResponse": {"status": 200}},
            by("redirect", redirect={"uri": "/x"}),
            by("direct", directResponse={"status": 403}),
            by("ghost", route=[{"destination": {"host": "ghost.test"}}]),
            by("subset", route=[to("nobody")]),
            {**everything, "route": [to()]},
        ),
    )
    await shop.mesh.serve()
    caller = await shop.caller()
    assert (await caller.call()).outcome == "v1"
    for path in ("redirect", "direct", "ghost", "subset"):
        reply = await caller.call(method=f"/{path}.Till/Ring")
        assert reply.status == "UNAVAILABLE", reply
        assert "does not exist" not in reply.words, "it waited fifteen seconds for what it was not told"
    (proxy,) = await shop.mesh.at_rest(1)
    assert all(not told["error"] for told in proxy["types"].values()), proxy


async def test_an_endpoint_that_goes_is_not_called_and_one_that_comes_is(shop: Shop) -> None:
    one, two = await shop.till("v1"), await shop.till("v2")
    shop.mesh.write("till.yaml", service("till", one.port, two.port))
    await shop.mesh.serve()
    caller = await shop.caller()
    await eventually(lambda: caller.tally(20), lambda found: set(found) == {"v1", "v2"})
    shop.mesh.write("till.yaml", service("till", two.port))
    await eventually(lambda: caller.tally(20), lambda found: found == {"v2": 20})
    shop.mesh.write("till.yaml", service("till"))
    gone = await caller.until(lambda reply: reply.status == "UNAVAILABLE")
    assert "does not exist" not in gone.words
    shop.mesh.write("till.yaml", service("till", one.port))
    await caller.until(lambda reply: reply.outcome == "v1")


async def test_an_unknown_host_fails_at_once_and_is_called_as_soon_as_it_is_known(shop: Shop) -> None:
    """The library itself would wait fifteen seconds."""
    till = await shop.till("v1")
    shop.mesh.write("other.yaml", service("other", till.port))
    await shop.mesh.serve()
    caller = await shop.caller()
    reply = await caller.call(timeout=60)
    assert reply.status == "UNAVAILABLE", reply
    assert "till.test:80" in reply.words
    assert "does not exist" not in reply.words, "it waited fifteen seconds for what it was not told"
    shop.mesh.write("till.yaml", service("till", till.port))
    await caller.until(lambda reply: reply.outcome == "v1")
    (shop.mesh.folder / "till.yaml").unlink()
    await caller.until(lambda reply: reply.status == "UNAVAILABLE" and "till.test:80" in reply.words)


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: till, namespace: shop}
spec: {ports: [{name: grpc, port: 9000}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: till, namespace: shop}
subsets: [{addresses: [{ip: 127.0.0.1}], ports: [{name: grpc, port: PORT}]}]
"""


async def test_every_name_of_a_service_is_a_target(shop: Shop) -> None:
    """The bare one for callers of its namespace."""
    till = await shop.till("v1")
    shop.mesh.write("till.yaml", SERVICE.replace("PORT", str(till.port)))
    await shop.mesh.serve()
    near, far = await shop.caller("shop"), await shop.caller("town")
    targets = [f"xds:///till{rest}:9000" for rest in ("", ".shop", ".shop.svc", ".shop.svc.cluster.local")]
    assert [(await near.call(target)).outcome for target in targets] == ["v1"] * 4
    assert [(await far.call(target)).outcome for target in targets] == ["UNAVAILABLE"] + ["v1"] * 3
    assert (await near.call("xds:///till:9001")).status == "UNAVAILABLE"


async def test_calls_go_on_while_the_server_is_away_and_its_news_arrive_when_it_is_back(shop: Shop) -> None:
    one, two = await shop.till("v1"), await shop.till("v2")
    shop.mesh.write("till.yaml", service("till", v1=one.port, v2=two.port), subsets("till", v1="v1", v2="v2"))
    shop.mesh.write("rule.yaml", rule({"route": [to("v1")]}))
    server = await shop.mesh.serve()
    caller = await shop.caller()
    assert (await caller.call()).outcome == "v1"
    await server.kill()
    assert await caller.tally(20) == {"v1": 20}
    shop.mesh.write("rule.yaml", rule({"route": [to("v2")]}))
    await shop.mesh.serve()
    await caller.until(lambda reply: reply.outcome == "v2")
    assert await caller.tally(20) == {"v2": 20}


GOLDEN = [case for case in CASES if case.proxy.client is Client.GRPC]


@pytest.mark.parametrize("case", GOLDEN, ids=str)
async def test_the_library_takes_what_the_golden_cases_render(case: Case, shop: Shop) -> None:
    """Every target of a case is called; what the calls become does not matter here."""
    shop.mesh.write("input.yaml", case.files["input.yaml"])
    await shop.mesh.serve()
    caller = await shop.caller()
    targets = {f"xds:///{of['host']}:{of['port']}" for of in case.read("calls.yaml")}
    for target in sorted(targets):
        reply = await caller.call(target, timeout=0.5)
        assert "does not exist" not in reply.words
    for proxy in await shop.mesh.at_rest(len(targets)):
        assert all(not told["error"] for told in proxy["types"].values()), proxy


async def test_names_are_looked_up_and_the_first_that_answers_is_called(shop: Shop) -> None:
    one, two = await shop.till("v1"), await shop.till("v2")
    ports = {"v0": free_port(), "v1": one.port, "v2": two.port}
    made = service("till")
    made["spec"]["resolution"] = "DNS"
    made["spec"]["endpoints"] = [
        {"address": "localhost", "ports": {"http": port}, "labels": {"version": name}} for name, port in ports.items()
    ]
    shop.mesh.write("till.yaml", made, subsets("till", v2="v2"))
    second = {"match": [{"headers": {"user": {"exact": "ann"}}}], "route": [to("v2")]}
    shop.mesh.write("rule.yaml", rule(second, {"route": [to()]}))
    await shop.mesh.serve()
    caller = await shop.caller()
    await caller.until(lambda reply: reply.outcome == "v1")
    assert await caller.tally(5, metadata={"user": "ann"}) == {"v2": 5}


async def test_a_hash_keeps_a_user_with_one_endpoint(shop: Shop) -> None:
    tills = [await shop.till(f"v{number}") for number in range(3)]
    shop.mesh.write("till.yaml", service("till", *(till.port for till in tills)))
    policy = {"loadBalancer": {"consistentHash": {"httpHeaderName": "user"}}}
    shop.mesh.write("hash.yaml", document("DestinationRule", "till", {"host": "till.test", "trafficPolicy": policy}))
    await shop.mesh.serve()
    caller = await shop.caller()
    found = [await caller.tally(5, metadata={"user": f"user-{number}"}) for number in range(12)]
    assert all(len(answers) == 1 for answers in found), found
    assert len({next(iter(answers)) for answers in found}) > 1


async def test_a_server_that_asks_for_its_listener_takes_calls(shop: Shop) -> None:
    """gRPC's servers may be configured too; nothing here says anything of them, and they must not wait for it."""
    await shop.mesh.serve()
    port = free_port()
    options = Options(Role.SIDECAR, "till", xds=f"unix:{shop.mesh.socket}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), str(port), stdin=asyncio.subprocess.PIPE,
        env={**clean_environment(), "GRPC_XDS_BOOTSTRAP_CONFIG": for_grpc(options)},
    )  # fmt: skip
    try:
        caller = await shop.caller()
        await caller.until(lambda reply: reply.outcome == "served", f"dns:///127.0.0.1:{port}")
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def test_the_server_is_spoken_to_over_tls_and_knows_who_calls(shop: Shop) -> None:
    """With the files that `legation certs` makes. In another namespace than its certificate's nobody is served."""
    till = await shop.till("v1")
    shop.mesh.write("till.yaml", service("till", till.port))
    channel = Channel(shop.mesh)
    await channel.made()
    own = await channel.identity("caller")
    await channel.serve()
    secure, xds = channel.secure(own, server_name=""), f"localhost:{channel.address.rpartition(':')[2]}"
    caller = await shop.caller(xds=xds, secure=secure)
    await caller.until(lambda reply: reply.outcome == "v1")
    await channel.connected(("default", "spiffe://cluster.local/ns/default/sa/caller"))
    stranger = await shop.caller("town", xds=xds, secure=secure)
    reply = await stranger.call(timeout=60)
    assert reply.status == "UNAVAILABLE"
    assert "may not be" in reply.words, reply
