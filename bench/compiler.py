"""Compiles a directory for one sidecar, as the server does at its start, and prints the seconds of each stage as JSON.

`python -m bench.compiler DIR`: one process, one time.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import Any

from legation import app
from legation.ingest import admission, decode, documents, files
from legation.model import instances
from legation.model.proxy import introduce
from legation.model.recall import Recall
from legation.model.world import World
from legation.render import resources, virtual_hosts, wire
from legation.settings import Settings
from legation.snapshot.snapshot import Snapshot

from bench.stages import Stages


def main(directory: str) -> None:
    stages = Stages(time.process_time)
    places: dict[str, list[tuple[Any, str]]] = {
        "read": [(files, "read_tree")],
        "parse": [(documents, "read")],
        "decode": [(decode, "decode"), (decode, "identify")],
        "admit and world": [(admission.Admission, "step"), (World, "apply")],
        "render": [(resources, "render")],
        "serialise": [(wire, "body"), (wire, "pack")],
        "assemble": [(virtual_hosts, "table")],
        "snapshot": [(resources, "evolve")],
    }
    proxy = introduce("sidecar~127.0.0.1~bench.shop~shop.svc.cluster.local", {})
    with stages.wrapped(places):
        began, used = time.perf_counter(), time.process_time()
        loading = app.App(Settings((directory,), http=None))
        decision = loading._load([])
        scope = instances.scope(decision.world, proxy)
        gc.disable()  # as the fleet does for a new scope
        rendered, _ = resources.render(Recall(decision.world), scope, resources.Rendered(Snapshot()), revision="")
        took, used = time.perf_counter() - began, time.process_time() - used
    if not rendered.snapshot.of("type.googleapis.com/envoy.config.route.v3.RouteConfiguration"):
        raise RuntimeError("nothing was rendered")
    line = {"all": took, "processor": used, **stages.seconds, "other": used - sum(stages.seconds.values())}
    print(json.dumps(line))


if __name__ == "__main__":
    main(sys.argv[1])
