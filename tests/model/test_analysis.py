"""What documents say about each other, with its place in the files."""

from __future__ import annotations

import pytest
from cases import proxy, tree
from legation import pipeline
from legation.problems import Problem

SERVICE = """apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{name: http, port: 80}]}
---
"""
RULE = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}]
---
"""


def problems(text: str) -> list[Problem]:
    return pipeline.compile(tree({"f.yaml": text}), proxy({"role": "sidecar"})).problems


def virtual_service(body: str) -> str:
    head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec:\n  hosts: [reviews]\n"
    return SERVICE + RULE + head + body


def only(text: str) -> tuple[str, int, int, str]:
    (found,) = problems(text)
    return found.code, found.line, found.column, found.path


def test_all_is_well() -> None:
    assert problems(virtual_service("  http:\n  - route: [{destination: {host: reviews, subset: v1}}]\n")) == []


def test_a_host_that_nobody_has() -> None:
    text = virtual_service("  http:\n  - route:\n    - destination:\n        host: revews\n")
    assert only(text) == ("IST0101", 21, 15, "spec.http[0].route[0].destination.host")
    (found,) = problems(text)
    assert "revews.default.svc.cluster.local" in found.message
    assert found.hint == "did you mean reviews.default.svc.cluster.local?"


def test_a_host_that_is_there_under_a_wildcard() -> None:
    wild = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild}
spec:
  hosts: ["*.example.com"]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.1}]
"""
    assert problems(virtual_service("  http:\n  - route: [{destination: {host: a.example.com}}]\n") + wild) == []


def test_a_subset_that_no_rule_has() -> None:
    text = virtual_service("  http:\n  - route:\n    - destination:\n        host: reviews\n        subset: v2\n")
    assert only(text) == ("IST0101", 22, 17, "spec.http[0].route[0].destination.subset")
    assert problems(text)[0].hint == "its subsets are: v1"


def test_a_gateway_that_is_not_there() -> None:
    text = virtual_service("  gateways: [mesh, other/edge]\n  http:\n  - route: [{destination: {host: reviews}}]\n")
    assert only(text) == ("IST0101", 18, 20, "spec.gateways[1]")


def test_a_rule_for_a_host_that_nobody_has() -> None:
    assert only(SERVICE + RULE.replace("host: reviews", "host: review")) == ("IST0174", 10, 9, "spec.host")
    assert problems(SERVICE + RULE.replace("host: reviews", 'host: "*.nowhere.example"')) == []


@pytest.mark.parametrize(
    "first",
    [
        "  - route: [{destination: {host: reviews}}]",
        "  - {match: [{uri: {prefix: /}}], route: [{destination: {host: reviews}}]}",
        '  - {match: [{uri: {prefix: ""}}], route: [{destination: {host: reviews}}]}',
        "  - {match: [{uri: {regex: .*}}], route: [{destination: {host: reviews}}]}",
        "  - {match: [{name: all}], route: [{destination: {host: reviews}}]}",
        "  - {match: [{uri: {prefix: /x}}, {uri: {}}], route: [{destination: {host: reviews}}]}",
    ],
)
def test_a_rule_that_is_never_reached(first: str) -> None:
    text = virtual_service(f"  http:\n{first}\n  - route: [{{destination: {{host: reviews}}}}]\n")
    assert only(text)[:2] == ("IST0130", 20)
    assert "http[0]" in problems(text)[0].message


@pytest.mark.parametrize(
    "condition",
    [
        "uri: {prefix: /x}", "uri: {exact: /}", "headers: {x: {}}", "method: {exact: GET}", "port: 80",
        "queryParams: {x: {}}", "withoutHeaders: {x: {}}", "sourceLabels: {app: x}", "sourceNamespace: x",
        "gateways: [mesh]", "authority: {exact: x}", "scheme: {exact: https}",
    ],
)  # fmt: skip
def test_a_rule_that_is_reached(condition: str) -> None:
    first = f"  - {{match: [{{{condition}}}], route: [{{destination: {{host: reviews}}}}]}}"
    assert problems(virtual_service(f"  http:\n{first}\n  - route: [{{destination: {{host: reviews}}}}]\n")) == []


PASSING = """apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 9000, name: raw, protocol: TCP}, hosts: ["*"]}
  - {port: {number: 443, name: through, protocol: TLS}, hosts: ["*"], tls: {mode: PASSTHROUGH}}
  - {port: {number: 444, name: ended, protocol: TLS}, hosts: ["*"], tls: {mode: ISTIO_MUTUAL}}
  - {port: {number: 15443, name: auto, protocol: TLS}, hosts: ["*.local"], tls: {mode: AUTO_PASSTHROUGH}}
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
---
"""


def passed_on(*rules: str) -> str:
    body = "".join(f"  {rule}\n" for rule in rules)
    return f"""{PASSING}apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: on}}
spec:
  hosts: ["*"]
  gateways: [edge]
{body}---
{SERVICE}"""


TO_REVIEWS = "route: [{destination: {host: reviews}}]"


def test_a_server_whose_connections_go_nowhere() -> None:
    found = problems(passed_on("tcp: [{match: [{port: 1}], " + TO_REVIEWS + "}]"))
    assert [(problem.code, problem.line, problem.path) for problem in found] == [
        ("LEG0603", line, f"spec.servers[{place}]") for place, line in enumerate((7, 8, 9))
    ]
    ruled = passed_on(f"tcp: [{{{TO_REVIEWS}}}]", f'tls: [{{match: [{{sniHosts: ["*"]}}], {TO_REVIEWS}}}]')
    assert problems(ruled) == []


@pytest.mark.parametrize("condition", ["sourceLabels: {a: b}", "sourceNamespace: x", "gateways: [other]", "port: 1"])
def test_a_name_that_is_taken_only_from_some(condition: str) -> None:
    """A match that is not for everyone who comes through takes no name away from the next."""
    first = f"tls: [{{match: [{{sniHosts: [a.example], {condition}}}], {TO_REVIEWS}}}"
    then = f"{{match: [{{sniHosts: [a.example]}}], {TO_REVIEWS}}}]"
    text = passed_on(f"tcp: [{{{TO_REVIEWS}}}]", f"{first}, {then}")
    assert problems(text) == []
    twice = text.replace(f", {condition}", "")
    assert [problem.code for problem in problems(twice)] == ["LEG0602"]


def test_a_secret_that_is_not_there_to_call_with() -> None:
    tls = "tls: {mode: SIMPLE, credentialName: gone, sni: a.example}"
    text = SERVICE + RULE.removesuffix("---\n") + f"  trafficPolicy: {{{tls}}}\n"
    assert only(text) == ("IST0101", 12, 55, "spec.trafficPolicy.tls.credentialName")
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: gone-cacert}\nstringData: {}\n"
    for name in ("gone-cacert", "gone"):
        assert problems(text + secret.replace("gone-cacert", name)) == []


def test_a_certificate_that_two_gateways_show() -> None:
    def gateway(name: str, host: str, certificate: str) -> str:
        return f"""apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 443, name: https, protocol: HTTPS}}
    hosts: [{host}]
    tls: {{mode: SIMPLE, serverCertificate: {certificate}, privateKey: /key}}
---
"""

    assert problems(gateway("a", "a.example", "/one") + gateway("b", "b.example", "/two")) == []
    (found,) = problems(gateway("a", "a.example", "/one") + gateway("b", "b.example", "/one"))
    assert (found.code, found.object, found.path) == ("IST0138", "Gateway default/b", "spec.servers[0].tls")
    assert found.other == "f.yaml:1"
