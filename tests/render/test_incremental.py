"""However a World came to be what it is: carried along, rendering gives what a fresh compile gives, and tells exactly
what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from legation.model.meta import Key, Object
from legation.model.proxy import Capture, Client, Role, Scope, Workload
from legation.model.recall import Recall
from legation.model.world import Mesh, World
from legation.render import resources
from legation.render.resources import Rendered
from legation.snapshot.snapshot import Resource, Snapshot
from worlds import documents

NETWORKING = "apiVersion: networking.istio.io/v1\nkind: "
MESH = Mesh(deployments_are_hosts=True)


def each(template: str, **values: list[str]) -> list[Object]:
    """A document in all the variants that the values of its one hole make."""
    ((hole, choices),) = values.items()
    return [item for choice in choices for item in documents(template.replace(f"<{hole}>", choice))]


def service(name: str, namespace: str = "default") -> list[Object]:
    head = f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}"
    return each(
        head + "<rest>",
        rest=[
            "}\nspec: {ports: [{name: http, port: 80}], selector: {app: x}}",
            "}\nspec: {ports: [{name: http, port: 80, targetPort: web}], selector: {app: x}, clusterIP: 10.0.0.1,\n"
            " trafficDistribution: PreferClose}",
            "}\nspec: {ports: [{name: tcp, port: 80}, {name: http-more, port: 81}]}",
            ', annotations: {networking.istio.io/exportTo: "."}}\nspec: {ports: [{name: grpc, port: 81}], clusterIP: None}',
        ],
    )


def entry(name: str, host: str, namespace: str = "default") -> list[Object]:
    head = f"{NETWORKING}ServiceEntry\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  hosts: [{host}]\n"
    http = "  ports: [{number: 80, name: http, protocol: HTTP}]\n"
    return each(
        head + "<rest>",
        rest=[
            http + "  resolution: STATIC\n"
            "  endpoints: [{address: 10.1.0.1, labels: {v: a}, serviceAccount: one}, {address: 10.1.0.2}]",
            http + "  resolution: DNS",
            http + '  resolution: STATIC\n  exportTo: ["."]\n  workloadSelector: {labels: {app: x}}',
            "  ports: [{number: 81, name: h2, protocol: HTTP2}]\n  resolution: STATIC\n  addresses: [10.0.0.1]\n"
            "  endpoints: [{address: one.example}]".replace("one.example", "10.1.0.3"),
            "  ports: [{number: 81, name: tcp, protocol: TCP}, {number: 80, name: any}]\n  resolution: STATIC\n"
            "  addresses: [10.7.0.0/16, 127.0.0.4, 10.0.0.9]\n  endpoints: [{address: 10.1.0.4}]",
            "  ports: [{number: 81, name: tls, protocol: TLS}, {number: 80, name: tcp, protocol: TCP}]\n  resolution: NONE",
        ],
    )


def rule(name: str, namespace: str = "default") -> list[Object]:
    head = f"{NETWORKING}VirtualService\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n"
    to = "http: [{route: [{destination: {host: <to>}}]}]"
    return each(
        head + "<rest>",
        rest=[
            "  hosts: [a]\n  " + to.replace("<to>", "b"),
            "  hosts: [a, o.example]\n  http: [{match: [{port: 81}], route: [{destination: {host: a, subset: one}}]}]",
            "  hosts: [x.example]\n  gateways: [mesh, edge]\n  " + to.replace("<to>", "x.example"),
            '  hosts: ["*.example"]\n  gateways: [edge]\n  ' + to.replace("<to>", "a"),
            '  hosts: ["*.svc.cluster.local"]\n  exportTo: ["."]\n  http: [{redirect: {uri: /x}}]',
            "  hosts: [a.default, y.example]\n  http:\n  - route:\n"
            "    - {destination: {host: a, subset: one}, weight: 1}\n    - {destination: {host: x.example}, weight: 2}",
            "  hosts: [a.default.svc, 10.0.0.1]\n"
            "  http: [{match: [{sourceLabels: {app: x}}], directResponse: {status: 200}}]",
            "  hosts: [a, x.example]\n  tcp: [{match: [{port: 81}], route: [{destination: {host: b}}]}]\n"
            "  tls: [{match: [{sniHosts: [x.example]}], route: [{destination: {host: x.example, subset: one}}]}]",
            "  hosts: [b]\n  http:\n  - match: [{uri: {prefix: /one}}]\n    delegate: {name: r2}\n    mirror: {host: a}\n"
            "  - delegate: {name: r3, namespace: far}",
            "  http: [{match: [{uri: {prefix: /one/two}}, {sourceLabels: {app: x}}], route: [{destination: {host: a}}]}]",
            "  exportTo: [default]\n  http: [{route: [{destination: {host: x.example}}], mirror: {host: b}}]",
        ],
    )


def destination_rule(name: str, namespace: str) -> list[Object]:
    head = f"{NETWORKING}DestinationRule\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n"
    return each(
        head + "<rest>",
        rest=[
            "  host: a\n  subsets: [{name: one, labels: {v: a}}]",
            "  host: a\n  subsets: [{name: one}, {name: two, labels: {v: b}}]",
            '  host: "*.example"\n  trafficPolicy: {loadBalancer: {simple: RANDOM}}',
            '  host: x.example\n  exportTo: ["."]\n  subsets: [{name: one, labels: {v: a}}]',
            "  host: x.example\n  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}",
        ],
    )


def sidecar(name: str, namespace: str = "default") -> list[Object]:
    head = f"{NETWORKING}Sidecar\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n"
    return each(
        head + "<rest>",
        rest=[
            "  workloadSelector: {labels: {app: x}}\n"
            '  ingress: [{port: {number: 8080, protocol: HTTP}, defaultEndpoint: "127.0.0.1:8081"}]',
            "  inboundConnectionPool: {tcp: {maxConnections: 3}}",
            "  ingress: [{port: {number: 80, protocol: HTTP}}, {port: {number: 9090, protocol: TCP}, bind: 127.0.0.3},\n"
            '    {port: {number: 81, protocol: TCP}, bind: 0.0.0.0, defaultEndpoint: "0.0.0.0:82"}]',
            '  egress: [{hosts: ["./*", far/x.example, "~default/b.default.svc.cluster.local"]}]',
            "  egress:\n  - {port: {number: 81, protocol: HTTP}, bind: 127.0.0.9, hosts: ['*/x.example']}\n"
            "  - {port: {number: 99, protocol: HTTP_PROXY}, hosts: ['*/*']}\n"
            "  - {port: {number: 0, protocol: HTTP}, bind: unix:///tmp/s, hosts: ['./*']}\n  - {hosts: ['far/*']}",
            "  workloadSelector: {labels: {app: x}}\n  egress: [{captureMode: NONE, hosts: ['*/*']}]\n"
            "  outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: x.example, port: {number: 80}}}",
        ],
    )


def mesh_config() -> list[Object]:
    head = "apiVersion: mesh.istio.io/v1alpha1\nkind: MeshConfig\nmetadata: {name: m}\nspec: {<rest>}"
    return each(
        head,
        rest=[
            "proxyHttpPort: 15002, trustDomain: one.example, trustDomainAliases: [two.example]",
            "outboundTrafficPolicy: {mode: REGISTRY_ONLY}, proxyHttpPort: 80",
            "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}, protocolDetectionTimeout: 1s",
        ],
    )


def gateway(name: str) -> list[Object]:
    head = f"{NETWORKING}Gateway\nmetadata: {{name: {name}}}\nspec:\n  servers:\n"
    http = "  - port: {number: <port>, name: http, protocol: HTTP}\n    hosts: [<hosts>]"
    return each(
        head + "<rest>",
        rest=[
            http.replace("<port>", "80").replace("<hosts>", '"*"'),
            http.replace("<port>", "80").replace("<hosts>", 'x.example, "*.b.example"') + "\n  selector: {istio: edge}",
            http.replace("<port>", "81").replace("<hosts>", "./x.example"),
            http.replace("<port>", "80").replace("<hosts>", '"*.example"') + "\n  selector: {istio: other}",
        ],
    )


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: x, v: <v>}}\nstatus: {podIP: 10.2.0.1}"
WORKLOAD = NETWORKING + "WorkloadEntry\nmetadata: {name: w, labels: {app: x, v: a}}\nspec: {address: <address>}"
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s, labels: {kubernetes.io/service-name: <of>}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.3.0.1], targetRef: {kind: Pod, name: p}}]
"""
ENDPOINTS = """
apiVersion: v1
kind: Endpoints
metadata: {name: b}
subsets: [{addresses: [{ip: <ip>}], ports: [{name: http, port: 80}]}]
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  replicas: <n>
  template:
    metadata: {labels: {app: x, v: a}}
    spec: {containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]}
"""

VARIANTS = [
    service("a"), service("b"), service("a", "far"), entry("x", "x.example"), entry("y", "x.example", "far"),
    entry("z", "a.default.svc.cluster.local"), rule("r1"), rule("r2"), rule("r3", "far"), destination_rule("d1", "default"),
    destination_rule("d2", "far"), sidecar("s1"), sidecar("s2"),
    sidecar("s3", "far"), mesh_config(), destination_rule("d3", "istio-system"), gateway("edge"), gateway("edge2"),
    each(POD, v=["a", "b"]), each(WORKLOAD, address=["10.4.0.1", "w.example", "unix:///w"]),
    each(SLICE, of=["a", "b"]), each(ENDPOINTS, ip=["10.5.0.1", "10.5.0.2"]), each(DEPLOYMENT, n=["0", "2"]),
]  # fmt: skip
BY_KEY: dict[Key, list[Object]] = {}
for _variants in VARIANTS:
    for _item in _variants:
        BY_KEY.setdefault(_item.key, []).append(_item)

X = (("app", "x"),)
REDIRECTED = Capture.REDIRECT
SCOPES = (
    Scope(Role.GATEWAY, "default", labels=(("istio", "edge"),)),
    Scope(Role.SIDECAR, "default", labels=X),
    Scope(Role.SIDECAR, "far", port_map=((80, 8080),)),
    Scope(Role.SIDECAR, "default", X, client=Client.GRPC),
    Scope(Role.SIDECAR, "default", X, REDIRECTED, workload=Workload(X, (("web", 8080),))),
    Scope(Role.SIDECAR, "far", capture=REDIRECTED, workload=Workload(X, (("http", 8082),), True, "10.1.0.2")),
)

Batch = list[tuple[Key, Object | None]]
START = st.tuples(
    *(st.tuples(st.just(key), st.sampled_from([*items, items[0], None])) for key, items in BY_KEY.items())
)
EDIT = st.sampled_from([(key, item) for key, items in BY_KEY.items() for item in (*items, None)])
"""A change of one document: to one of its variants, or away."""


def meaning(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """All that a stream or a report could see; origins in no order."""

    def of(found: Resource) -> tuple[Any, ...]:
        return found.type_url, found.name, found.body, found.version, found.refs, frozenset(found.origins)

    return {
        url: {name: of(found) for name, found in table.items()} for url, table in snapshot.resources.items() if table
    }


def versions(snapshot: Snapshot) -> dict[tuple[str, str], str]:
    return {(url, name): found.version for url, table in snapshot.resources.items() for name, found in table.items()}


def differing(before: Snapshot, after: Snapshot) -> dict[str, frozenset[str]]:
    old, new = versions(before), versions(after)
    names = {which for which in old.keys() | new.keys() if old.get(which) != new.get(which)}
    return {url: frozenset(name for of, name in names if of == url) for url in {of for of, _ in names}}


@given(START, st.lists(st.lists(EDIT, min_size=1, max_size=3), min_size=3, max_size=10))
@settings(max_examples=60, deadline=None)
def test_carried_along_is_as_good_as_fresh(start: Batch, batches: list[Batch]) -> None:
    world = World(MESH)
    recall = Recall(world)
    rendered = {scope: Rendered(Snapshot()) for scope in SCOPES}
    for batch in (start, *batches):
        final: Mapping[Key, Object | None] = dict(batch)
        put = [item for item in final.values() if item is not None]
        world, facts = world.apply(put, [key for key, item in final.items() if item is None])
        recall.advance(world, facts)
        fresh, _ = World(MESH).apply(world.objects.values())
        for scope in SCOPES:
            before = rendered[scope]
            rendered[scope], change = resources.render(recall, scope, before, revision="")
            anew, _ = resources.render(Recall(fresh), scope, Rendered(Snapshot()), revision="")
            now = rendered[scope].snapshot
            assert meaning(now) == meaning(anew.snapshot)
            for url in now.resources.keys() | anew.snapshot.resources.keys():
                assert now.version(url) == anew.snapshot.version(url)
            assert dict(change) == differing(before.snapshot, now)


def test_the_edits_reach_everything_that_is_rendered() -> None:
    """The property above says something only if these documents make all kinds of resources, and changes of them."""
    seen = set()
    for number in range(4):
        world, _ = World(MESH).apply(variants[min(number, len(variants) - 1)] for variants in BY_KEY.values())
        for scope in SCOPES:
            anew, _ = resources.render(Recall(world), scope, Rendered(Snapshot()), revision="")
            seen |= {(scope.role, url.rpartition(".")[2]) for url, table in anew.snapshot.resources.items() if table}
    kinds = ("Listener", "RouteConfiguration", "Cluster", "ClusterLoadAssignment")
    assert seen == {(role, kind) for role in (Role.GATEWAY, Role.SIDECAR) for kind in kinds}


def test_what_nobody_wants_any_longer_is_forgotten() -> None:
    """After everything has gone, as little is remembered as before anything came."""
    recall = Recall(World(MESH))
    rendered = Rendered(Snapshot())
    rendered, _ = resources.render(recall, SCOPES[1], rendered, revision="")
    few = recall.remembered
    world, facts = recall.world.apply(variants[0] for variants in BY_KEY.values())
    recall.advance(world, facts)
    rendered, _ = resources.render(recall, SCOPES[1], rendered, revision="")
    assert recall.remembered > few + 20
    world, facts = world.apply((), list(world.objects))
    recall.advance(world, facts)
    rendered, _ = resources.render(recall, SCOPES[1], rendered, revision="")
    assert recall.remembered == few
    assert versions(rendered.snapshot) == {}
