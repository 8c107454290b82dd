"""DestinationRule `retryBudget`: retries are bounded by a share of the requests.

Envoy: CircuitBreakers.Thresholds.RetryBudget, which takes the place of `max_retries`.
"""

from __future__ import annotations

from google.protobuf import duration_pb2

from legation.render import wire
from legation.render.draft import ClusterDraft
from legation.snapshot.delimited import delimited

_PERCENT, _CONCURRENCY = 20.0, 3
_INTERVAL = 3
"""The number of `budget_interval`, which Envoy 1.40 has and the stubs do not yet."""


def apply(draft: ClusterDraft) -> None:
    """Fills in the budget, with Istio's numbers for what is left out."""
    written = draft.policy.retry_budget
    if written is None:
        return
    budget = draft.thresholds.retry_budget
    budget.budget_percent.value = _PERCENT if written.percent is None else written.percent
    budget.min_retry_concurrency.value = (
        _CONCURRENCY if written.min_retry_concurrency is None else written.min_retry_concurrency
    )
    if written.budget_interval is not None:
        interval = duration_pb2.Duration()
        interval.FromTimedelta(written.budget_interval)
        budget.MergeFromString(delimited(_INTERVAL, wire.body(interval)))
