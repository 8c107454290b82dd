"""What is said of documents that compete, and of what does not fit, costs, after a change, what the change costs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from legation.ingest import admission
from legation.ingest.admission import Admission
from legation.model import analysis
from legation.model.recall import Recall
from legation.model.world import World


def texts(number: int) -> Iterator[str]:
    """A service with a gateway, a rule and subsets of its own."""
    yield f"""
    apiVersion: networking.istio.io/v1
    kind: Gateway
    metadata: {{name: g{number}}}
    spec:
      selector: {{istio: ingressgateway}}
      servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [h{number}.example]}}]
    """
    yield f"""
    apiVersion: networking.istio.io/v1
    kind: VirtualService
    metadata: {{name: v{number}}}
    spec:
      hosts: [h{number}.example]
      gateways: [g{number}, mesh]
      http: [{{route: [{{destination: {{host: s{number}.example, subset: v1}}}}]}}]
    """
    yield f"""
    apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: {{name: s{number}}}
    spec:
      hosts: [s{number}.example]
      ports: [{{number: 80, name: http, protocol: HTTP}}]
      resolution: STATIC
      endpoints: [{{address: 10.0.0.1, labels: {{version: v1}}}}]
    """
    yield f"""
    apiVersion: networking.istio.io/v1
    kind: DestinationRule
    metadata: {{name: d{number}}}
    spec:
      host: s{number}.example
      subsets: [{{name: v1, labels: {{version: v1}}}}]
    """


def together(*documents: str) -> str:
    return "---\n".join(textwrap.dedent(text) for text in documents)


def runs_after(count: int, change: int) -> tuple[int, int]:
    """How many units run, and how many findings there are, when one of a service's documents loses its v1."""
    admitted = Admission(World(), ())
    files = {f"{number}.yaml": together(*texts(number)) for number in range(count)}
    admitted.step([admission.understand(path, text) for path, text in files.items()], (), 0)
    recall = Recall(admitted.world)
    assert recall.ask(analysis.everything).union(tuple) == frozenset()
    before = recall.runs
    documents = list(texts(7))
    documents[change] = documents[change].replace("v1", "v2").replace("h7.", "x7.").replace("/v2", "/v1")
    decision = admitted.step([admission.understand("7.yaml", together(*documents))], (), 10)
    decision = decision if decision.facts else admitted.step((), (), 20)
    recall.advance(decision.world, decision.facts)
    found = recall.ask(analysis.everything).union(tuple)
    return recall.runs - before, len(found)


def test_a_change_costs_the_same_in_a_small_mesh_and_in_a_large_one() -> None:
    for change in range(4):
        small, large = runs_after(20, change), runs_after(200, change)
        assert small == large
        assert large[0] < 40


def test_and_it_is_found() -> None:
    assert [runs_after(20, change)[1] for change in (1, 2, 3)] == [1, 1, 2]
