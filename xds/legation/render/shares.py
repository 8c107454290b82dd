"""A share of requests. Envoy: envoy.type.v3.FractionalPercent."""

from __future__ import annotations

from typing import Any

from envoy.type.v3 import percent_pb2


def share(percentage: Any, whole: int) -> percent_pb2.FractionalPercent:
    """Percent as millionths, rounded (Istio cuts off, so that 0.57 % becomes 0.5699 %); `whole` percent without any."""
    if percentage is None:
        return percent_pb2.FractionalPercent(numerator=whole)
    return percent_pb2.FractionalPercent(
        numerator=round(percentage.value * 10_000), denominator=percent_pb2.FractionalPercent.MILLION
    )
