"""A gRPC server that asks the control plane for its listener, until its input ends: `grpc_served.py PORT`."""

from __future__ import annotations

import sys
from concurrent import futures

import grpc


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(4), xds=True)
    handler = grpc.unary_unary_rpc_method_handler(lambda _, __: b"served")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Till", {"Ring": handler}),))
    server.add_secure_port(f"127.0.0.1:{sys.argv[1]}", grpc.xds_server_credentials(grpc.insecure_server_credentials()))
    server.start()
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
