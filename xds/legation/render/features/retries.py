"""VirtualService `http[].retries`, and the retries that Istio adds where nobody asked.

Source: Istio's HTTPRetry; the defaults are istiod's. Envoy: route.v3.RetryPolicy.
"""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.retry.priority.previous_priorities.v3 import previous_priorities_config_pb2

from legation.model import mesh
from legation.model.http_actions import HTTPRetry
from legation.model.recall import Reader
from legation.render import wire
from legation.render.context import RouteContext

_DEFAULT_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_PREVIOUS_HOSTS = "envoy.retry_host_predicates.previous_hosts"
_PREVIOUS_PRIORITIES = "envoy.retry_priorities.previous_priorities"


def by_default(action: route_pb2.RouteAction, reader: Reader) -> None:
    """What the mesh's configuration says, else two retries."""
    written: HTTPRetry | None = reader.ask(mesh.setting, "default_http_retry_policy")
    if written is None:
        action.retry_policy.CopyFrom(_ordinary(action))
    else:
        _as_written(action, written)


def inbound(action: route_pb2.RouteAction, reader: Reader, is_grpc: bool) -> None:
    """What the mesh's configuration says of calls to a workload, else two retries of what it has not seen: a connection
    that it closed just then. gRPC's callers see to that themselves.
    """
    written: HTTPRetry | None = reader.ask(mesh.setting, "default_inbound_http_retry_policy")
    attempts = written.attempts if written is not None else 2
    if is_grpc or not attempts:
        return
    policy = action.retry_policy
    policy.num_retries.value = attempts
    _retry_on(policy, (written.retry_on if written is not None else "") or "reset-before-request")
    if written is not None and written.backoff is not None:
        policy.retry_back_off.base_interval.FromTimedelta(written.backoff)


def _ordinary(action: route_pb2.RouteAction) -> route_pb2.RetryPolicy:
    """Two retries of what was certainly not processed; on another host, unless a hash says which one it must be."""
    return _ANYWHERE if action.hash_policy else _ELSEWHERE


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """Without `retries` the default; with `attempts: 0` none at all; else what is written over the default."""
    if not route.HasField("route"):
        return
    if rule.retries is None:
        by_default(route.route, context.reader)
    else:
        _as_written(route.route, rule.retries)


def _as_written(action: route_pb2.RouteAction, written: HTTPRetry) -> None:
    if not written.attempts:
        return
    policy = route_pb2.RetryPolicy()
    policy.CopyFrom(_ordinary(action))
    policy.num_retries.value = written.attempts
    if written.per_try_timeout is not None:
        policy.per_try_timeout.FromTimedelta(written.per_try_timeout)
    if written.retry_on:
        _retry_on(policy, written.retry_on)
    if written.backoff is not None:
        policy.retry_back_off.base_interval.FromTimedelta(written.backoff)
    if written.retry_ignore_previous_hosts is False:
        del policy.retry_host_predicate[:]
    elif written.retry_ignore_previous_hosts and not policy.retry_host_predicate:
        _avoid_previous_hosts(policy)
    if written.retry_remote_localities:
        policy.retry_priority.name = _PREVIOUS_PRIORITIES
        config = previous_priorities_config_pb2.PreviousPrioritiesConfig(update_frequency=2)
        policy.retry_priority.typed_config.CopyFrom(wire.pack(config))
    action.retry_policy.CopyFrom(policy)


def _retry_on(policy: route_pb2.RetryPolicy, written: str) -> None:
    """Status codes stand among the conditions; Envoy wants them in a list of their own."""
    conditions = [part.strip() for part in written.split(",") if part.strip()]
    codes = [int(part) for part in conditions if part.isdigit()]
    words = [part for part in conditions if not part.isdigit()]
    if codes and "retriable-status-codes" not in words:
        words.append("retriable-status-codes")
    policy.retry_on = ",".join(words)
    policy.retriable_status_codes.extend(codes)


def _avoid_previous_hosts(policy: route_pb2.RetryPolicy) -> None:
    policy.host_selection_retry_max_attempts = 5
    predicate = policy.retry_host_predicate.add(name=_PREVIOUS_HOSTS)
    predicate.typed_config.CopyFrom(wire.pack(previous_hosts_pb2.PreviousHostsPredicate()))


def _twice() -> route_pb2.RetryPolicy:
    policy = route_pb2.RetryPolicy(retry_on=_DEFAULT_ON)
    policy.num_retries.value = 2
    return policy


_ANYWHERE, _ELSEWHERE = _twice(), _twice()
_avoid_previous_hosts(_ELSEWHERE)
