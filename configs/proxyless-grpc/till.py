"""A till that answers with its name: till.py PORT NAME"""

import sys
from concurrent import futures

import grpc

port, name = sys.argv[1:]
ring = grpc.unary_unary_rpc_method_handler(lambda request, context: name.encode())
server = grpc.server(futures.ThreadPoolExecutor())
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Till", {"Ring": ring, "Void": ring})])
server.add_insecure_port(f"127.0.0.1:{port}")
server.start()
server.wait_for_termination()
