"""`python -m bench [--quick] [CASE …]`: measures, prints a table, and keeps it as JSON below bench/results.

Figures are for one machine and one day; what is promised are ratios, of two things that took turns in one run. A shared
machine is noisy: trust medians, and look at how far least and greatest are apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from bench import churn, cold, cost, effect, fan_out, machine, server, storm
from bench.figures import HEAD, Row, cells

Measure = Callable[[bool], AsyncIterator[Row]]
CASES: dict[str, Measure] = {case.NAME: case.measure for case in (effect, cost, cold, fan_out, storm, churn)}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"which to measure: {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="small and short: does it run at all?")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a target is missed")
    told = parser.parse_args()
    if unknown := set(told.cases) - CASES.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    server.quiet()
    about = machine.described()
    print("\n".join(f"{what:10} {value}" for what, value in about.items()), flush=True)
    began = time.monotonic()
    rows = asyncio.run(_measured(told.cases or list(CASES), told.quick))
    print(f"\nin {time.monotonic() - began:.0f} s{', quick: no figures to quote' if told.quick else ''}")
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    file = RESULTS / f"{now:%Y-%m-%dT%H%M%S}.json"
    content = {"date": now.isoformat(), "quick": told.quick, "machine": about, "rows": [row.as_json() for row in rows]}
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"kept in {file}")
    missed = [row for row in rows if row.met is False]
    for row in missed:
        print(f"missed: {row.what}: {row.figure.median:.2f} {row.unit}, promised {row.target:g}", file=sys.stderr)
    return 1 if missed and told.strict else 0


async def _measured(cases: list[str], quick: bool) -> list[Row]:
    rows = []
    for case in cases:
        print(f"\n{_line(HEAD)}", flush=True)
        async for row in CASES[case](quick):
            rows.append(row)
            print(_line(cells(row)), flush=True)
    return rows


def _line(words: tuple[str, ...]) -> str:
    case, what, *numbers, unit, target, verdict = words
    return f"{case:8} {what:58} {''.join(f'{number:>9}' for number in numbers)} {unit:6} {target:7} {verdict}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
