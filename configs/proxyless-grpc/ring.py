"""Calls a till a hundred times and counts what was answered: ring.py TARGET [METHOD] [KEY=VALUE]"""

import sys
from collections import Counter

import grpc

target, *more = sys.argv[1:]
metadata = [tuple(word.split("=", 1)) for word in more if "=" in word]
method = next((word for word in more if "=" not in word), "Ring")
call = grpc.insecure_channel(target).unary_unary(f"/shop.Till/{method}")
found = Counter()
for _ in range(100):
    try:
        found[call(b"", timeout=60, metadata=metadata).decode()] += 1
    except grpc.RpcError as error:
        found[error.code().name] += 1
print(*(f"{count} {answer}" for answer, count in sorted(found.items())), sep=", ")
