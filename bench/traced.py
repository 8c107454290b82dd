"""`legation serve` with clocks around its stages: after every change it prints a line of JSON that says where it went.

`python -m bench.traced DIR …` takes the arguments of `legation serve`. The clocks cost a little, so what is compared
with anything else is measured without them.
"""

from __future__ import annotations

import json
import time

from legation.app import App
from legation.cli.serve import serve
from legation.ingest.watch import Changed

from bench.stages import Stages, of_a_change


def main() -> None:
    stages = Stages(time.perf_counter)
    take = App._take

    async def told(self: App, change: Changed) -> None:
        stages.clear()
        taken = time.monotonic()
        await take(self, change)
        line = {"at": change.at, "taken": taken, "done": time.monotonic(), "seconds": stages.seconds}
        print(json.dumps(line), flush=True)

    App._take = told  # type: ignore[method-assign]
    with stages.wrapped(of_a_change()):
        serve()


if __name__ == "__main__":
    main()
