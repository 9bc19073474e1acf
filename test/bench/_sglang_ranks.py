"""Two ranks of an SGLang Engine, switched under load, for `sglang`: steps that mix epochs, and planted refusals.

python _sglang_ranks.py MODEL SWITCHES REFUSALS      prints JSON
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "adapters/common"))
sys.path.insert(0, str(Path(__file__).parents[1] / "adapters/sglang"))
sys.path.insert(0, str(Path(__file__).parents[1] / "adapters/sglang/loud"))

from checker import epochs_seen, mixed_steps
from opswap_loud import calls_of
from served import SMALL, Asked, prepare_environment

ARMS, CHUNK, TRACE_CALLS = ("loud", "cpu"), 50, 1 << 21


def switched(asked: Asked, attached: Any, switches: int) -> dict[str, Any]:
    """In chunks, each with a trace of its own."""
    mixed: list[str] = []
    epochs: set[int] = set()
    ms: list[float] = []
    ranks = attached.agent.engine.ranks
    while len(ms) < switches:
        attached.run(ranks.call("trace_start", TRACE_CALLS))
        with asked.load():
            for number in range(CHUNK):
                began = time.perf_counter()
                attached.run(attached.agent.coordinator.use({"silu_and_mul": ARMS[number % 2]}, 60.0))
                ms.append(1e3 * (time.perf_counter() - began))
        traces = [calls_of(answer) for answer in attached.run(ranks.call("steps"))]
        mixed += mixed_steps(traces)
        epochs |= epochs_seen(traces[0])
        print(f"  {len(ms)} switches, {len(mixed)} mixed steps so far", file=sys.stderr, flush=True)
    told = {"switches": len(ms), "epochs_that_ran": len(epochs), "ms_p50": sorted(ms)[len(ms) // 2]}
    return {"mixed": len(mixed), "examples": mixed[:3], "reach": 0, **told}


def refused(asked: Asked, attached: Any, count: int) -> dict[str, Any]:
    """Each time one of two ranks refuses: whether it was named, and nothing changed."""
    from opswap.ipc.errors import IpcError

    ranks, named, changed = attached.agent.engine.ranks, 0, 0
    with asked.load():
        for number in range(count):
            attached.run(ranks.call("plant", number % 2, "planted"))
            before = [answer["choice"] for answer in attached.run(ranks.call("status"))]
            try:
                attached.run(attached.agent.coordinator.use({"silu_and_mul": ARMS[number % 2]}, 60.0))
            except IpcError as error:
                named += [told["rank"] for told in error.ranks] == [number % 2]
            changed += before != [answer["choice"] for answer in attached.run(ranks.call("status"))]
            attached.run(ranks.call("plant", number % 2, None))
    return {"planted": count, "named": named, "changed": changed}


def main() -> None:
    model, switches, refusals = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    prepare_environment()
    with tempfile.TemporaryDirectory(prefix="sr", dir="/tmp") as folder:
        os.environ["OPSWAP_RUNTIME_DIR"] = folder
        import sglang
        from opswap.adapters.sglang import attach

        asked = Asked(sglang.Engine(model_path=model, tp_size=2, page_size=16, **SMALL))
        with attach(asked.engine, "two-ranks") as attached:
            told = switched(asked, attached, switches)
            told["refusing"] = refused(asked, attached, refusals)
        asked.stop()
        print(json.dumps(told))


if __name__ == "__main__":
    main()
