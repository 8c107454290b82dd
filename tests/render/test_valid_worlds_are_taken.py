"""What validation passes without an error the real Envoy takes: whole worlds made by chance, of Gateways with every kind of
server, rules for TLS and TCP, services and endpoints in every spelling, Sidecars, and what MeshConfig says of all of it.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from cases import Case, proxy, tree
from legation import pipeline
from legation.ingest import documents
from legation.ingest.decode import decode
from legation.local import static
from legation.local.verdict import verdict
from legation.problems import Severity

pytestmark = [pytest.mark.envoy, pytest.mark.xdist_group("accepted")]

DURATIONS = ("1ms", "1s", "30s", "24h", "2562047h")
HOSTS = (
    "*", "a.example", "A.Example", "*.example", "a.b.example", "*.a.example", "other/a.example", "./a.example",
    "*/b.example", "./*", "*/*", "10.0.0.1", "::1", "a.example.", "xn--bcher-kva.example", "1.example", "a-.example",
    "a" * 63 + ".example",
)  # fmt: skip
SERVICES = (
    "boat.example", "*.boat.example", "Boat.example", "boat", "boat.default.svc.cluster.local", "a.b.c.d.e.f", "*",
    "*boat.example", "10.0.0.1", "boat.example.", "b" * 63 + ".example", "_boat.example", "boat_a.example",
)  # fmt: skip
ADDRESSES = (
    "10.0.0.7", "::1", "fd00::7", "::ffff:10.0.0.7", "0.0.0.0", "::", "a.example", "unix:///run/a.sock", "unix://@a",
    "127.0.0.1", "255.255.255.255", "unix:///" + "a" * 106, "unix:///" + "a" * 107, "224.0.0.1", "fe80::1%eth0",
    "010.0.0.1", "10.0.0.7.",
)  # fmt: skip
SUBNETS = (
    "10.0.0.0/8", "10.0.0.1/32", "10.1.2.3/8", "::/0", "0.0.0.0/0", "fd00::/8", "10.0.0.9", "fd00::A",
    "::ffff:10.0.0.0/104",
)  # fmt: skip
PROTOCOLS = ("HTTP", "http", "HTTP2", "GRPC", "GRPC-Web", "HTTPS", "TLS", "TCP", "MONGO", "REDIS", "MYSQL", "UDP", "")
FORMATS = (
    "%REQ(:PATH)%", "%REQ(X?:PATH):9%", "%START_TIME(%Y)%", "%START_TIME%", "%%", "100%%", "%RESP(a b)%",
    "%DYNAMIC_METADATA(a:b)%", "%UPSTREAM_HOST%\n", "%NOTHING%", "%REQ()%", "%REQ(a):0%", "ä", "%TRAILER(a)%",
    "%FILTER_STATE(a:PLAIN)%", "%ENVIRONMENT(A)%", "%DOWNSTREAM_PEER_CERT_V_START(%Y)%", "%PROTOCOL",
    "%RESPONSE_CODE(a)%", "%REQ(a)%%REQ(b)%", "%QUERY_PARAM(a)%", "{}",
)  # fmt: skip


class Made:
    """Things by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)

    def value(self, of: Any) -> Any:
        return of() if callable(of) else self.chance.choice(of)

    def maybe(self, **fields: Any) -> dict[str, Any]:
        """Some of these fields, one at least."""
        some = {name: of for name, of in fields.items() if self.chance.random() < 0.4}
        return {name: self.value(of) for name, of in (some or dict([self.chance.choice(list(fields.items()))])).items()}

    def some(self, of: Any, most: int = 3) -> list[Any]:
        return [self.value(of) for _ in range(self.chance.randint(1, most))]

    def valid(self, kind: str, name: str, make: Any, api: str = "networking.istio.io/v1", **more: Any) -> str:
        """A document that validation passes."""
        for _ in range(10_000):
            made = make()
            body = made if api in ("v1", "discovery.k8s.io/v1") else {"spec": made}
            head = {"apiVersion": api, "kind": kind, "metadata": {"name": name, **more}}
            text = json.dumps({**head, **body}) + "\n"
            (read,) = documents.read("made.yaml", text).documents
            if all(problem.severity is not Severity.ERROR for problem in decode(read)[1]):
                return text
        raise AssertionError(f"no {kind} is valid")

    # -- gateways --

    def server_tls(self) -> dict[str, Any]:
        modes = ("PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL")
        source = self.value((
            {}, {}, {"credentialName": "a"}, {"credentialName": "kubernetes://b/a"}, {"credentialName": "sds://a"},
            {"credentialName": "builtin://"}, {"credentialName": "configmap://a"}, {"credentialNames": ["a", "b"]},
            {"serverCertificate": "/a", "privateKey": "/b", "caCertificates": "/c", "caCrl": "/d"},
            {"serverCertificate": "/a", "privateKey": "/b"}, {"caCertCredentialName": "c", "credentialName": "a"},
            {"tlsCertificates": [{"serverCertificate": path, "privateKey": "/b"} for path in ("/a", "/c")]},
            {"tlsCertificates": [{"serverCertificate": "/a", "privateKey": "/a", "caCertificates": "/a"}]},
        ))  # fmt: skip
        versions = ("TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3")
        more = self.chance.choice([dict, lambda: self.maybe(
            subjectAltNames=lambda: self.some(("a", "", "*.a", "spiffe://a", "10.0.0.1", "a@b", "ä")),
            httpsRedirect=(True, False), minProtocolVersion=versions, maxProtocolVersion=versions,
            insecureSkipVerify=(True, False),
            cipherSuites=lambda: self.some(("ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA", "NOTHING", "")),
            ecdhCurves=lambda: self.some(("X25519", "P-256", "P-999", "")),
            verifyCertificateHash=lambda: self.some(("aa" * 32, "aa", "AB:" * 31 + "AB")),
            verifyCertificateSpki=lambda: self.some(("NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=", "a")),
        )])()  # fmt: skip
        return {"mode": self.value(modes), **source, **more}

    def server(self, number: int) -> dict[str, Any]:
        made: dict[str, Any] = {
            "port": {
                "number": self.value((80, 443, 443, 9000, 65535, 1, 0)), "name": f"p{number}",
                "protocol": self.value(PROTOCOLS),
            },
            "hosts": self.some(HOSTS),
        }  # fmt: skip
        if self.chance.random() < 0.6:
            made["tls"] = self.chance.choice([self.server_tls, {"httpsRedirect": True}.copy])()
        if self.chance.random() < 0.2:
            made["bind"] = self.value(("127.0.0.1", "::1", "0.0.0.0", "::", "unix:///run/a.sock", "::ffff:127.0.0.1"))
        if self.chance.random() < 0.2:
            made["name"] = self.value(("a", "ä", "%", "a b"))
        return made

    def gateway(self) -> dict[str, Any]:
        servers: list[dict[str, Any]] = []
        while len(servers) < 5:
            server = self.server(len(servers))
            text = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "x"}}
            (read,) = documents.read("x.yaml", json.dumps({**text, "spec": {"servers": [server]}})).documents
            if all(problem.severity is not Severity.ERROR for problem in decode(read)[1]):
                servers.append(server)
        return {"servers": servers, "selector": {"istio": "ingressgateway"}}

    def route(self) -> list[dict[str, Any]]:
        to = lambda: {"host": self.value(("boat.example", "ship", "nobody", "sea.boat.example"))} | self.value((  # noqa: E731
            {}, {"port": {"number": 80}}, {"subset": "v1"}
        ))  # fmt: skip
        return [
            {"destination": to(), "weight": self.value((0, 1, 99, 2**31 - 1))} for _ in range(self.value((1, 1, 2, 3)))
        ]

    def rules(self) -> dict[str, Any]:
        common = lambda **more: self.maybe(  # noqa: E731
            destinationSubnets=lambda: self.some(SUBNETS), port=(80, 443, 9000), **more
        )
        names = ("a.example", "*.example", "*", "b.example", "A.EXAMPLE", "10.0.0.1")
        hosts = (
            "*",
            "a.example",
            "*.example",
            "b.example",
            "boat.example",
            "*.boat.example",
            "ship",
            "A.b.Example.",
            "10.0.0.1",
        )
        bound = self.value((["edge"], ["edge"], ["mesh"], ["edge", "mesh"], []))
        return {"hosts": self.some(hosts, 2), "gateways": bound} | self.maybe(
            http=lambda: [{"route": self.route()}],
            tls=lambda: self.some(lambda: {
                "match": self.some(lambda: {"sniHosts": self.some(names), **common()}), "route": self.route()
            }),
            tcp=lambda: self.some(lambda: {"match": self.some(common), "route": self.route()}),
        )  # fmt: skip

    # -- services --

    def entry(self, address: bool = True) -> dict[str, Any]:
        return self.maybe(
            address=ADDRESSES, ports=({"one": 80}, {"two": 65535, "one": 1}, {"three": 3}),
            labels=({"version": "v1"}, {"istio-locality": "a.b.c"}, {"app": "ship"}), weight=(0, 1, 2**31, 2**32 - 1),
            locality=("a/b/c", "", "a//c", "/", "a/b/c/d", "ä"), network=("n",),
        )  # fmt: skip

    def service_entry(self) -> dict[str, Any]:
        number = self.value((1, 1, 2))
        ports = [
            {"number": port, "name": name, "protocol": self.value(PROTOCOLS), **self.value(({}, {"targetPort": 8080}))}
            for port, name in ((self.value((80, 443, 5432)), "one"), (self.value((81, 65535)), "two"))[:number]
        ]
        made: dict[str, Any] = {
            "hosts": self.some(SERVICES, 2), "ports": ports, "location": self.value(("MESH_EXTERNAL", "MESH_INTERNAL")),
            "resolution": self.value(("NONE", "STATIC", "STATIC", "DNS", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS")),
        }  # fmt: skip
        return made | self.chance.choice([
            dict, lambda: {"endpoints": self.some(self.entry)}, lambda: {"workloadSelector": {"labels": {"app": "ship"}}},
            lambda: {"addresses": self.some(SUBNETS), "subjectAltNames": self.some(("a", "*.a", ""))},
        ])()  # fmt: skip

    def service(self) -> dict[str, Any]:
        port = lambda name: {"name": name, "port": self.value((80, 81, 443)), **self.maybe(  # noqa: E731
            targetPort=(8080, "web", 1), protocol=("TCP", "UDP"), appProtocol=("http", "kubernetes.io/h2c", "grpc", "tls")
        )}  # fmt: skip
        return {"spec": {"ports": [port("http"), port("tcp-x")], "selector": {"app": "ship"}} | self.value((
            {}, {"clusterIP": "None"}, {"clusterIP": "10.1.1.1"}, {"clusterIPs": ["10.1.1.1", "fd00::1"]},
            {"type": "ExternalName", "externalName": "a.example"}, {"type": "ExternalName", "externalName": "10.0.0.1"},
            {"type": "ExternalName", "externalName": "a b"}, {"type": "ExternalName", "externalName": "*.a"},
            {"clusterIP": "a"}, {"clusterIP": ""}, {"clusterIPs": ["10.1.1.1.", "::ffff:10.1.1.1", "10.1.1.0/24"]},
        ))}  # fmt: skip

    def slice(self) -> dict[str, Any]:
        return {
            "addressType": self.value(("IPv4", "IPv6", "FQDN")),
            "ports": [{"name": "http", "port": self.value((1, 8080, 65535))}],
            "endpoints": self.some(lambda: {
                "addresses": self.some(("10.0.0.1", "fd00::1", "a.example", "10.0.0.256", "010.0.0.1", "fe80::1%eth0", "")),
                **self.value(({}, {"zone": "a"}, {"conditions": {"ready": False}})),
            }),
        }  # fmt: skip

    def pod(self) -> dict[str, Any]:
        ports = [{"name": "web", "containerPort": self.value((1, 8080))}]
        addresses = ("10.0.0.9", "fd00::9", "", "a", "10.0.0.9:80", "fe80::1%eth0", "010.0.0.1")
        return {"spec": {"containers": [{"ports": ports}]}, "status": {"podIP": self.value(addresses)}}

    def sidecar(self) -> dict[str, Any]:
        port = lambda: {  # noqa: E731
            "number": self.value((80, 443, 5432, 9000, 15001, 0)), "name": self.value(("a", "", "ä")),
            "protocol": self.value((*PROTOCOLS, "HTTP_PROXY")),
        }  # fmt: skip
        bound = {"bind": ("127.0.0.1", "::1", "0.0.0.0", "127.0.0.9"), "captureMode": ("DEFAULT", "NONE")}
        where = lambda: self.maybe(**bound) if self.value((True, False)) else {}  # noqa: E731
        hosts = ("*/*", "./*", "~/*", "*/boat.example", "./*.boat.example", "default/ship.default.svc.cluster.local")
        ends = ("127.0.0.1:80", "0.0.0.0:80", "[::1]:80", "unix:///run/a.sock", ":80", "", "a:80")
        through = {"host": "boat.example", "port": {"number": 80}}
        return self.maybe(
            egress=lambda: self.some(
                lambda: {"hosts": self.some(hosts), **where(), **({"port": port()} if self.value((True, False)) else {})}
            ),
            ingress=lambda: self.some(lambda: {"port": port(), "defaultEndpoint": self.value(ends), **where()}),
            outboundTrafficPolicy=({"mode": "REGISTRY_ONLY"}, {"mode": "ALLOW_ANY", "egressProxy": through}),
            inboundConnectionPool=({"tcp": {"maxConnections": 1}},),
        )  # fmt: skip

    # -- the mesh --

    def mesh(self) -> dict[str, Any]:
        pool = {"tcp": {"maxConnections": 2**31 - 1}, "http": {"maxConcurrentStreams": 1, "http2MaxRequests": 1}}
        return self.maybe(
            connectTimeout=DURATIONS, dnsRefreshRate=DURATIONS, h2UpgradePolicy=("UPGRADE", "DO_NOT_UPGRADE"),
            tcpKeepalive=lambda: self.maybe(probes=(0, 127), time=DURATIONS, interval=DURATIONS),
            defaultTrafficPolicy=({"connectionPool": pool}, {"outlierDetection": {"interval": "1ms"}}),
            defaultHttpRetryPolicy=lambda: {"attempts": self.value((0, 1, 2**31 - 1))},
            outboundClusterStatName=("%SERVICE%", "%SERVICE_FQDN%_%SERVICE_PORT%|%SUBSET_NAME%", "a b", "ä", "%TARGET_PORT%"),
            accessLogFile=("/dev/stdout", "/dev/null"), accessLogEncoding=("TEXT", "JSON"),
            accessLogFormat=lambda: self.value((*FORMATS, json.dumps({"a": self.value(FORMATS), "b": [1, None]}))),
            disableEnvoyListenerLog=(True, False),
            pathNormalization=lambda: {"normalization": self.value(("NONE", "BASE", "DECODE_AND_MERGE_SLASHES"))},
            defaultConfig=lambda: self.maybe(
                gatewayTopology=lambda: self.maybe(
                    numTrustedProxies=(0, 1, 2**32 - 1), forwardClientCertDetails=("SANITIZE", "ALWAYS_FORWARD_ONLY"),
                    proxyProtocol=({},),
                ),
                proxyHeaders=lambda: self.maybe(
                    server=({"value": "a"}, {"disabled": True}, {"value": "ä"}), requestId=({"disabled": True},),
                    attemptCount=({"disabled": True},), preserveHttp1HeaderCase=(True, False),
                    xForwardedHost=({"enabled": True},),
                ),
            ),
        )  # fmt: skip

    def world(self) -> str:
        """Documents, each of them valid."""
        of_ship = {"kubernetes.io/service-name": "ship"}
        return "---\n".join([
            self.valid("Gateway", "edge", self.gateway),
            *(self.valid("VirtualService", f"v{number}", self.rules) for number in range(3)),
            *(self.valid("ServiceEntry", f"s{number}", self.service_entry) for number in range(3)),
            *(self.valid("WorkloadEntry", f"w{number}", self.entry, labels={"app": "ship"}) for number in range(2)),
            self.valid("Service", "ship", self.service, "v1"),
            self.valid("EndpointSlice", "ship", self.slice, "discovery.k8s.io/v1", labels=of_ship),
            self.valid("Pod", "ship", self.pod, "v1", labels={"app": self.value(("ship", "other"))}),
            self.valid("Sidecar", "all", self.sidecar),
            self.valid("MeshConfig", "mesh", self.mesh, "mesh.istio.io/v1alpha1"),
        ])  # fmt: skip


def configured(world: str) -> list[dict[str, Any]]:
    """What a gateway and a sidecar are served."""
    found = []
    workload = {"role": "sidecar", "labels": {"app": "ship"}}
    for asker in ({"role": "gateway"}, {"role": "sidecar"}, workload | {"capture": "redirect"}):
        snapshot = pipeline.compile(tree({"made.yaml": world}), proxy(asker)).snapshot
        listening = [one["address"] for one in Case.tables(snapshot)["listeners"]]
        assert len({str(one) for one in listening}) == len(listening), world  # Envoy refuses the second
        found.append(static.bootstrap(snapshot))
    return found


def said(worlds: list[str]) -> str:
    """What Envoy says of them; nothing if it takes all."""
    return verdict(static.together(one for world in worlds for one in configured(world)))


def culprits(worlds: list[str]) -> list[tuple[str, str]]:
    """Those that Envoy refuses, each with its words."""
    if not (words := said(worlds)):
        return []
    if len(worlds) == 1:
        return [(words, worlds[0])]
    half = len(worlds) // 2
    return culprits(worlds[:half]) + culprits(worlds[half:])


@pytest.mark.parametrize("seed", range(3))
def test_a_valid_world_is_taken(seed: int) -> None:
    made = Made(seed)
    worlds = [made.world() for _ in range(30)]
    if said(worlds):
        assert culprits(worlds) == []
