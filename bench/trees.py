"""Directories of YAML to measure with, and saves as an editor makes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from string import Template

NAMESPACE = "shop"
PORT = 9080
"""The port of every service."""
FRONT = 8080
"""The port of the gateway."""
BESIDE = "127.0.0.2"
"""Where the second endpoint of every service is; the first is at 127.0.0.1. An address and port count once."""


def save(file: Path, text: str) -> None:
    """Writes a file the way editors do: beside it, then renamed over it."""
    staged(file, text.encode()).rename(file)


def staged(file: Path, content: bytes) -> Path:
    """The new version of a file, ready to be renamed over it: a name that begins with a dot is not looked at."""
    beside = file.with_name(f".{file.name}.new")
    beside.write_bytes(content)
    return beside


# --- hosts that answer by themselves ------------------------------------------------------------------------------

_GATEWAY = f"""\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: front
  namespace: {NAMESPACE}
spec:
  selector:
    istio: ingressgateway
  servers:
  - port:
      number: {FRONT}
      name: http
      protocol: HTTP
    hosts:
    - "*"
"""

_ANSWER = Template("""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: $name
  namespace: shop
spec:
  hosts:
  - $host
  gateways:
  - front
  http:
$rules  - name: answer
    directResponse:
      status: 200
      body:
        string: $colour
""")


_RULE = Template("""\
  - name: rule-$number
    match:
    - uri:
        prefix: /$number/
      headers:
        x-tenant:
          regex: "[a-z]+-$number"
      queryParams:
        page:
          exact: "$number"
    route:
    - destination:
        host: behind.example
    rewrite:
      uri: /
    timeout: ${number}s
    retries:
      attempts: 3
      retryOn: 5xx,reset
      perTryTimeout: 1s
    headers:
      request:
        set:
          x-rule: "$number"
      response:
        add:
          x-rule: "$number"
    corsPolicy:
      allowOrigins:
      - exact: https://shop-$number.example
      allowMethods: [GET, POST]
    fault:
      delay:
        fixedDelay: 1s
        percentage:
          value: 0
""")
FEATURES = 10
"""What every rule of a rich host uses: three conditions, rewrite, timeout, retries, headers twice, CORS and a fault."""

_BEHIND = """\
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: behind
  namespace: shop
spec:
  hosts:
  - behind.example
  resolution: STATIC
  ports:
  - name: http
    number: 80
    protocol: HTTP
  endpoints:
  - address: 127.0.0.1
"""


def host(number: int) -> str:
    """The name of a host that answers by itself."""
    return f"host-{number:05}.example.com"


def answer(number: int, colour: str, features: int = 0) -> str:
    """The VirtualService of a host that answers with a colour, after rules that use so many features."""
    rules = "".join(_RULE.substitute(number=rule + 1) for rule in range(features // FEATURES))
    return _ANSWER.substitute(name=f"host-{number:05}", host=host(number), colour=colour, rules=rules)


def answering(directory: Path, count: int, colour: str, features: int = 0) -> list[Path]:
    """A gateway with so many hosts that all answer with a colour; the hosts' files."""
    directory.mkdir()
    directory.joinpath("gateway.yaml").write_text(_GATEWAY + (_BEHIND if features else ""), encoding="utf-8")
    files = [directory / f"host-{number:05}.yaml" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text(answer(number, colour, features), encoding="utf-8")
    return files


# --- services with two subsets ------------------------------------------------------------------------------------

_SUBSETS = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: $name
  namespace: shop
spec:
  host: $name
  subsets:
  - name: v1
    labels:
      version: v1
  - name: v2
    labels:
      version: $label
"""

_SERVICE = Template(
    """\
apiVersion: v1
kind: Service
metadata:
  name: $name
  namespace: shop
  labels:
    app: $name
spec:
  selector:
    app: $name
  ports:
  - name: http
    port: 9080
    targetPort: $target
---
"""
    + _SUBSETS
    + """\
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: $name
  namespace: shop
spec:
  hosts:
  - $name
  gateways:
  - mesh
  - front
  http:
  - name: split
    route:
    - destination:
        host: $name
        subset: v1
      weight: $weight
    - destination:
        host: $name
        subset: v2
      weight: $rest
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: $name-v1
  namespace: shop
spec:
  address: 127.0.0.1
  labels:
    app: $name
    version: v1
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: $name-v2
  namespace: shop
spec:
  address: $address
  labels:
    app: $name
    version: v2
"""
)

DOCUMENTS = 5
"""Documents of one service: Service, DestinationRule, VirtualService and two endpoints."""


def service(number: int, *, target: int = 8000, weight: int = 50, label: str = "v2", address: str = BESIDE) -> str:
    """A service with two subsets, the traffic that is split between them, and an endpoint for each."""
    return _SERVICE.substitute(
        name=name(number), target=target, weight=weight, rest=100 - weight, label=label, address=address
    )


def name(number: int) -> str:
    """The short name of a service."""
    return f"service-{number:05}"


def services(directory: Path, count: int, *, target: int = 8000, one_file: bool = False) -> list[Path]:
    """So many services, a file each or all in one, and a gateway that serves them; the services' files."""
    directory.mkdir()
    directory.joinpath("gateway.yaml").write_text(_GATEWAY, encoding="utf-8")
    if one_file:
        files = [directory / "services.yaml"]
        texts: Iterator[str] = iter(["---\n".join(service(number, target=target) for number in range(count))])
    else:
        files = [directory / f"{name(number)}.yaml" for number in range(count)]
        texts = (service(number, target=target) for number in range(count))
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    return files


_ENTRY = Template(
    """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: $name
  namespace: shop
spec:
  hosts:
  - $name.shop.svc.cluster.local
  resolution: STATIC
  ports:
  - name: http
    number: 9080
    protocol: HTTP
    targetPort: 8000
  endpoints:
  - address: 127.0.0.1
    labels:
      version: v1
  - address: 127.0.0.2
    labels:
      version: v2
---
"""
    + _SUBSETS
)

BRIEF = 2
"""Documents of one service in `entries`: ServiceEntry and DestinationRule."""


def entries(directory: Path, count: int) -> None:
    """So many services with two subsets in as few documents as Istio has for that, a file each."""
    directory.mkdir()
    for number in range(count):
        text = _ENTRY.substitute(name=name(number), label="v2")
        directory.joinpath(f"{name(number)}.yaml").write_text(text, encoding="utf-8")


def size(directory: Path) -> int:
    """Bytes of all files."""
    return sum(entry.stat().st_size for entry in os.scandir(directory))
