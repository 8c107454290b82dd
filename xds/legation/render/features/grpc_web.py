"""gRPC-Web, as browsers speak it, becomes gRPC, and the answers become gRPC-Web.

Envoy: the grpc_web filter.
"""

from __future__ import annotations

from typing import Final

from envoy.extensions.filters.http.grpc_web.v3 import grpc_web_pb2
from google.protobuf.message import Message

FILTER: Final[tuple[str, Message]] = ("envoy.filters.http.grpc_web", grpc_web_pb2.GrpcWeb())
