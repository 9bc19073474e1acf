"""`npm run bench -- batch_invariant`: what the same bits at every batch size cost on the CPU.

Each op with the argument, of the smallest weights of its benches, at each of their numbers of rows: times with it over
times without, in turn, on one thread, in CPU time. 1 where the same path runs anyway. `--rounds N` changes the rounds,
`--ops A B` the ops, `--most N` leaves out calls of more than N million products.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import opswap

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "native"))
from card.evidence.floor import bench_types, floor_of
from ops.rooms import Room, build, rooms

ARGUMENT = "batch_invariant"
IMPLEMENTATION = "cpu"


def cases_of(room: Room, most: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Cases of the fewest weights, with their arguments."""
    types, _ = bench_types(room.spec, codes=False)
    cases = room.spec.get("bench", [])
    sizes = [{k: v for k, v in case.items() if k.isupper() and k != "M"} for case in cases]
    least = min(sizes, key=lambda size: sorted(size.values()), default={})
    for case, size in zip(cases, sizes, strict=True):
        if size != least:
            continue
        values = build(room, case, types)
        if floor_of(room.spec, values).flops <= 2e6 * most:
            yield {k: v for k, v in case.items() if k.isupper()}, values


def cost(op: str, values: dict[str, Any], rounds: int) -> float:
    """Times with the argument over times without."""

    def seconds(asked: bool) -> float:
        start = time.thread_time()
        opswap.call(op, *{**values, ARGUMENT: asked}.values(), impl=IMPLEMENTATION)
        return time.thread_time() - start

    seconds(True), seconds(False)
    return median(seconds(True) / max(seconds(False), 1e-9) for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=int, default=2000)
    parser.add_argument("--ops", nargs="*")
    given = parser.parse_args()
    opswap.set_threads(1)
    asked = [r for r in rooms() if any(a["name"] == ARGUMENT for a in r.args) and r.name in (given.ops or [r.name])]
    for room in asked:
        rows = [{**case, "cost": round(cost(room.name, v, given.rounds), 2)} for case, v in cases_of(room, given.most)]
        print(json.dumps({"op": room.name, "implementation": opswap.active(room.name), "cases": rows}), flush=True)


if __name__ == "__main__":
    main()
