"""Bootstraps as the real Envoy takes them: accepted, read as they were written, and acting as they promise."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2  # noqa: F401 (ParseDict looks it up)
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401 (ParseDict looks it up)
from envoy.service.discovery.v3 import discovery_pb2 as discovery
from google.protobuf import json_format
from legation.bootstrap import Options, Secure, Variant, bootstrap, for_grpc
from legation.local.envoy import Envoy, find
from legation.model.proxy import Capture, Client, Locality, Proxy, Role, introduce

AWKWARD = {
    "on": "0644",
    "n": "yes",
    "y": "null",
    "a.b/c": "1e3",
    "quote": "\"'#{}",
    "empty": "",
    "ünï": "→",
    "~": "01:02",
}


def validated(text: str, tmp_path: Path) -> None:
    """Fails unless the real Envoy accepts the bootstrap."""
    file = tmp_path / "bootstrap.yaml"
    file.write_text(text)
    done = subprocess.run(
        [str(find()), "--mode", "validate", "-l", "warning", "-c", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "eprecated" not in done.stderr


@pytest.mark.envoy
@pytest.mark.parametrize(
    ("role", "variant", "xds"),
    list(product(Role, Variant, ["127.0.0.1:15010", "[::1]:15010", "legation:15010", "unix:/run/legation/xds.sock"])),
)
def test_envoy_accepts_it(role: Role, variant: Variant, xds: str, tmp_path: Path) -> None:
    options = Options(role, "web-1", "shop", variant=variant, xds=xds, labels=AWKWARD, port_map={80: 8080, 443: 8443})
    for capture, admin in product(Capture, ["127.0.0.1:0", "[::1]:15000", f"unix:{tmp_path}/admin.sock"]):
        validated(bootstrap(replace(options, capture=capture, admin=admin)), tmp_path)


def parsed(text: str) -> bootstrap_pb2.Bootstrap:
    return json_format.ParseDict(yaml.safe_load(text), bootstrap_pb2.Bootstrap())


def introduced(options: Options) -> Proxy:
    """The proxy as the server sees it, after the trip through Envoy's own message."""
    node = parsed(bootstrap(options)).node
    place = Locality(node.locality.region, node.locality.zone, node.locality.sub_zone)
    return introduce(node.id, json_format.MessageToDict(node.metadata), place)


@pytest.mark.parametrize("role", Role)
def test_the_server_sees_the_proxy_that_was_described(role: Role) -> None:
    options = Options(
        role, "web-1", "shop", "10.0.0.7", {"app": "web", "version": "v1"}, Capture.REDIRECT, "127.0.0.9",
        port_map={80: 8080, 443: 8443}, locality="eu/a",
    )  # fmt: skip
    proxy = introduced(options)
    assert (proxy.role, proxy.name, proxy.namespace, proxy.ip) == (role, "web-1", "shop", "10.0.0.7")
    assert proxy.labels == (("app", "web"), ("version", "v1"))
    assert (proxy.capture, proxy.bind) == (Capture.REDIRECT, "127.0.0.9")
    assert proxy.port_map == ((80, 8080), (443, 8443))
    assert proxy.locality == Locality("eu", "a")


def test_the_defaults_are_those_of_the_command() -> None:
    proxy = introduced(Options(Role.GATEWAY, "edge"))
    assert proxy.id == "router~127.0.0.1~edge.default~default.svc.cluster.local"
    assert proxy.labels == (("istio", "ingressgateway"),)
    assert (proxy.capture, proxy.bind, proxy.port_map) == (Capture.NONE, "127.0.0.1", ())
    assert introduced(Options(Role.SIDECAR, "web")).labels == ()
    assert introduced(Options(Role.GATEWAY, "edge", labels={"a": "b"})).labels == (("a", "b"),)


def test_a_sidecar_is_in_the_cluster_of_its_app() -> None:
    assert parsed(bootstrap(Options(Role.SIDECAR, "web-1", "shop", labels={"app": "web"}))).node.cluster == "web.shop"
    assert parsed(bootstrap(Options(Role.SIDECAR, "web-1", "shop"))).node.cluster == "web-1.shop"


@pytest.mark.envoy
async def test_envoy_reads_every_string_as_a_string() -> None:
    """YAML readers disagree about `n` and `0644`; what counts is what Envoy's own says it read."""
    options = Options(Role.GATEWAY, "n", "on", labels=AWKWARD, admin="127.0.0.1:0", xds="unix:/nonexistent/xds.sock")
    async with await Envoy.start(bootstrap(options)) as envoy:
        info = yaml.safe_load((await envoy.ask("/server_info"))[1])
        assert info["node"]["id"] == "router~127.0.0.1~n.on~on.svc.cluster.local"
        assert info["node"]["metadata"]["NAMESPACE"] == "on"
        assert info["node"]["metadata"]["LABELS"] == AWKWARD


@pytest.mark.parametrize("word", ["n", "y", "on", "off", "yes", "no", "true", "null", "0644", "1e3", "0x1f"])
def test_no_value_is_left_plain(word: str) -> None:
    text = bootstrap(Options(Role.SIDECAR, word, word, labels={word: word}))
    assert f'"{word}": "{word}"' in text
    assert f'NAMESPACE: "{word}"' in text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name ''"),
        ({"name": "a~b"}, "name 'a~b'"),
        ({"namespace": "a b"}, "namespace 'a b'"),
        ({"ip": "localhost"}, "ip 'localhost' is not an IP address"),
        ({"bind": "lo"}, "bind 'lo' is not an IP address"),
        ({"xds": "127.0.0.1"}, "xds address '127.0.0.1' is not HOST:PORT"),
        ({"xds": "127.0.0.1:0"}, "xds address '127.0.0.1:0' is not HOST:PORT"),
        ({"xds": "127.0.0.1:65536"}, "is not HOST:PORT"),
        ({"xds": ":15010"}, "is not HOST:PORT"),
        ({"xds": "a\nb:15010"}, "is not HOST:PORT"),
        ({"xds": "::1:15010"}, "write IPv6 as"),
        ({"xds": "unix:"}, "has no path"),
        ({"xds": "unix:/a\nb: c"}, "has no path"),
        ({"admin": "localhost:15000"}, "needs an IP address"),
        ({"locality": "eu//a"}, "locality 'eu//a' is not"),
        ({"locality": "a/b/c/d"}, "locality 'a/b/c/d' is not"),
        ({"port_map": {80: 0}}, "0 in the port map is not a port"),
    ],
)
def test_what_cannot_be_is_refused_in_words(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        bootstrap(replace(Options(Role.GATEWAY, "edge"), **wrong))


def test_the_comment_on_top_says_how_several_are_started() -> None:
    comment = [line for line in bootstrap(Options(Role.GATEWAY, "edge")).splitlines() if line.startswith("#")]
    assert "--disable-hot-restart" in "\n".join(comment)
    assert "--base-id" in "\n".join(comment)


class Server:
    """An xDS server that notes every stream and request, and refuses each stream or answers with nothing at all."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.streams: asyncio.Queue[str] = asyncio.Queue()
        self.requests: asyncio.Queue[Any] = asyncio.Queue()
        self.refuse = refuse

    @contextlib.asynccontextmanager
    async def on(self, address: str) -> AsyncIterator[int]:
        """Serves on the address, and gives the port."""
        server = grpc.aio.server()
        methods = {
            "StreamAggregatedResources": self._method("sotw", discovery.DiscoveryRequest, discovery.DiscoveryResponse),
            "DeltaAggregatedResources": self._method(
                "delta", discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse
            ),
        }
        name = "envoy.service.discovery.v3.AggregatedDiscoveryService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
        port = server.add_insecure_port(address)
        await server.start()
        try:
            yield port
        finally:
            await server.stop(None)

    def _method(self, name: str, request: Any, response: Any) -> grpc.RpcMethodHandler:
        async def stream(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            self.streams.put_nowait(name)
            if self.refuse:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            async for asked in requests:
                self.requests.put_nowait(asked)
                if not asked.response_nonce:
                    yield response(type_url=asked.type_url, nonce="1")

        return grpc.stream_stream_rpc_method_handler(stream, request.FromString, response.SerializeToString)


@pytest.mark.envoy
@pytest.mark.parametrize("variant", Variant)
@pytest.mark.parametrize("socket", ["tcp", "unix", "name"])
async def test_envoy_comes_by_the_variant_and_address_it_was_given(
    variant: Variant, socket: str, tmp_path: Path
) -> None:
    server = Server()
    path = f"unix:{tmp_path}/xds.sock"
    async with server.on(path if socket == "unix" else "127.0.0.1:0") as port, asyncio.timeout(30):
        xds = {"tcp": f"127.0.0.1:{port}", "unix": path, "name": f"localhost:{port}"}[socket]
        options = Options(Role.GATEWAY, "edge", variant=variant, xds=xds, admin="127.0.0.1:0")
        async with await Envoy.start(bootstrap(options)) as envoy:
            await envoy.ready()
            assert await server.streams.get() == variant
            first, second = await server.requests.get(), await server.requests.get()
            assert first.node.id == "router~127.0.0.1~edge.default~default.svc.cluster.local"
            assert not second.HasField("node")  # only the first message of a stream carries it


@pytest.mark.envoy
async def test_the_reconnect_back_off_is_the_one_that_envoy_obeys() -> None:
    """Sixty reconnects, far faster than Envoy's own back-off allows: the field that says 0.2 to 2 s is in force."""
    server = Server(refuse=True)
    async with server.on("127.0.0.1:0") as port:
        text = bootstrap(Options(Role.GATEWAY, "edge", xds=f"127.0.0.1:{port}", admin="127.0.0.1:0"))
        ours = 'retry_back_off:\n            base_interval: "0.2s"\n            max_interval: "2s"\n'
        assert ours in text
        hasty = text.replace(ours, ours.replace("0.2s", "0.001s").replace("2s", "0.002s"))
        async with await Envoy.start(hasty), asyncio.timeout(30):
            for _ in range(60):
                await server.streams.get()


@pytest.mark.envoy
async def test_envoy_notices_a_server_that_has_gone_silent() -> None:
    """A server that takes the connection and never says a word: only keepalive makes Envoy come again."""
    connected: asyncio.Queue[None] = asyncio.Queue()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.put_nowait(None)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        text = bootstrap(Options(Role.GATEWAY, "edge", xds=f"127.0.0.1:{port}", admin="127.0.0.1:0"))
        ours = 'connection_keepalive:\n              interval: "30s"\n              timeout: "10s"\n'
        assert ours in text
        hasty = text.replace(ours, ours.replace("30s", "0.05s").replace("10s", "0.05s"))
        async with await Envoy.start(hasty), asyncio.timeout(30):
            for _ in range(3):
                await connected.get()


@pytest.mark.parametrize("xds", ["127.0.0.1:15010", "unix:/run/legation/xds.sock"])
def test_a_grpc_library_is_seen_as_what_calls_beside_a_workload(xds: str) -> None:
    """Whatever else an Envoy there would be told."""
    made = json.loads(
        for_grpc(Options(Role.SIDECAR, "web-1", "shop", "10.0.0.7", {"app": "web"}, xds=xds, locality="eu/a"))
    )
    (server,) = made["xds_servers"]
    assert (server["server_uri"], server["channel_creds"]) == (xds, [{"type": "insecure"}])
    node = made["node"]
    proxy = introduce(node["id"], node["metadata"], Locality(**node["locality"]))
    assert (proxy.client, proxy.role, proxy.capture, proxy.port_map) == (Client.GRPC, Role.SIDECAR, Capture.NONE, ())
    assert (proxy.name, proxy.namespace, proxy.ip) == ("web-1", "shop", "10.0.0.7")
    assert (proxy.labels, proxy.locality) == ((("app", "web"),), Locality("eu", "a"))


def test_a_grpc_library_without_our_bootstrap_is_known_by_what_it_calls_itself() -> None:
    proxy = introduce("anybody", {}, user_agent="gRPC C-core linux Python")
    assert (proxy.client, proxy.role, proxy.namespace) == (Client.GRPC, Role.SIDECAR, "default")


@pytest.mark.parametrize(
    ("options", "words"), [({"xds": "here"}, "HOST:PORT"), ({"name": "a b"}, "name"), ({"ip": "x"}, "ip")]
)
def test_a_grpc_bootstrap_with_what_cannot_be_is_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        for_grpc(Options(**{"role": Role.SIDECAR, "name": "web", **options}))  # type: ignore[arg-type]


def test_a_grpc_library_speaks_tls_if_it_is_told_which_files() -> None:
    """It reads them again by itself."""
    secure = Secure("", "/ca.crt", "/own.crt", "/own.key")
    options = Options(Role.SIDECAR, "web", xds="legation:15012", secure=secure)
    (server,) = json.loads(for_grpc(options))["xds_servers"]
    files = {"ca_certificate_file": "/ca.crt", "certificate_file": "/own.crt", "private_key_file": "/own.key"}
    assert server["channel_creds"] == [{"type": "tls", "config": files}]
    (server,) = json.loads(for_grpc(replace(options, secure=Secure("", "/ca.crt", token="/token"))))["xds_servers"]
    assert server["call_creds"] == [{"type": "jwt_token_file", "config": {"jwt_token_file": "/token"}}]
    for wrong in (Secure("", "/ca.crt"), Secure("", "/ca.crt", "/own.crt"), replace(secure, server_name="other")):
        with pytest.raises(ValueError):
            for_grpc(replace(options, secure=wrong))
