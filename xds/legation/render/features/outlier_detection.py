"""DestinationRule `outlierDetection`: endpoints that fail are left alone for a while.

Envoy: Cluster.outlier_detection. Detection by success rate, which Envoy would do by itself, is always off.
"""

from __future__ import annotations

from envoy.config.common.matcher.v3 import matcher_pb2

from legation.render.draft import ClusterDraft


def apply(draft: ClusterDraft) -> None:
    """An empty block ejects after five errors in a row, at most a tenth of the endpoints, as Envoy does."""
    draft.made.common_lb_config.healthy_panic_threshold.value = 0  # Envoy's 50 would use what is known to have failed
    written = draft.policy.outlier_detection
    if written is None:
        return
    made = draft.made.outlier_detection
    made.enforcing_success_rate.value = 0
    if written.consecutive_5xx_errors is not None:
        made.consecutive_5xx.value = written.consecutive_5xx_errors
        made.enforcing_consecutive_5xx.value = 100 if written.consecutive_5xx_errors else 0
    if written.consecutive_gateway_errors is not None:
        made.consecutive_gateway_failure.value = written.consecutive_gateway_errors
        made.enforcing_consecutive_gateway_failure.value = 100 if written.consecutive_gateway_errors else 0
    if written.split_external_local_origin_errors:
        made.split_external_local_origin_errors = True
        made.enforcing_local_origin_success_rate.value = 0
        if written.consecutive_local_origin_failures:
            made.consecutive_local_origin_failure.value = written.consecutive_local_origin_failures
            made.enforcing_consecutive_local_origin_failure.value = 100
    if written.interval is not None:
        made.interval.FromTimedelta(written.interval)
    if written.base_ejection_time is not None:
        made.base_ejection_time.FromTimedelta(written.base_ejection_time)
    if written.max_ejection_percent:
        made.max_ejection_percent.value = written.max_ejection_percent
    draft.made.common_lb_config.healthy_panic_threshold.value = written.min_health_percent
    if written.outlier_detection_http_error_codes:
        draft.http.outlier_detection.error_matcher.CopyFrom(_any_of(written.outlier_detection_http_error_codes))


def _any_of(codes: tuple[int, ...]) -> matcher_pb2.MatchPredicate:
    """Answers with one of these statuses."""
    found = []
    for code in dict.fromkeys(codes):
        predicate = matcher_pb2.MatchPredicate()
        header = predicate.http_response_headers_match.headers.add(name=":status")
        header.string_match.exact = str(code)
        found.append(predicate)
    if len(found) == 1:
        return found[0]
    return matcher_pb2.MatchPredicate(or_match=matcher_pb2.MatchPredicate.MatchSet(rules=found))
