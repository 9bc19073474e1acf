"""Real vLLM with SmolLM2 at TP=3, switched under load, for `ab`: steps that mix epochs, and cached KV of another arm.

python _ab_ranks.py SWITCHES      prints JSON
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "adapters/common"))
sys.path.insert(0, str(Path(__file__).parents[1] / "adapters/vllm"))
import opswap
import vllm_driver  # sets the environment before vLLM reads it
from checker import epochs_seen, mixed_steps
from loud_worker import LOUD

SIZE, CHUNK, TIMEOUT_S, TRACE_CALLS = 3, 20, 60.0, 1 << 21
#: Of several blocks of the cache.
LONG = [1, *range(3, 60)]
ARMS = (LOUD, "cpu")


async def tokens(engine: Any, prompt: list[int], count: int, name: str, salt: str | None = None) -> list[int]:
    """With a `salt` that nobody else has, no cached KV is read."""
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True, detokenize=False)
    asked: dict[str, Any] = {"prompt_token_ids": prompt, **({"cache_salt": salt} if salt else {})}
    last = [out async for out in engine.generate(asked, greedy, name)][-1]
    return list(last.outputs[0].token_ids)


async def stream(engine: Any, number: int) -> None:
    """Requests that never stop coming, until this is cancelled."""
    count = 0
    while True:
        await tokens(engine, [1, 5, 9, 33, number], 40, f"load-{number}-{count}")
        count += 1


async def traces(engine: Any) -> list[list[dict[str, Any]]]:
    """The whole trace of each rank; the library hands out so many calls at a time."""
    ranks: list[list[dict[str, Any]]] = [[] for _ in range(SIZE)]
    while True:
        after = min(trace[-1]["sequence"] if trace else 0 for trace in ranks)
        pages = await engine.collective_rpc("opswap_trace", args=(after,))
        seen = [trace[-1]["sequence"] if trace else 0 for trace in ranks]
        news = [[c for c in page if c["sequence"] > last] for page, last in zip(pages, seen, strict=True)]
        if not any(news):
            return ranks
        for trace, page in zip(ranks, news, strict=True):
            trace.extend(page)


class Run:
    """Switches in chunks, each with a trace of its own, and what they showed."""

    def __init__(self, engine: Any, group: Any) -> None:
        from opswap.ipc.coordinator import Coordinator

        versions = {op["op"]: op["version"] for op in opswap.manifest()["ops"]}
        self._engine, self._ranks = engine, Coordinator(group, opswap.version()["build_digest"], versions)
        self._pure: dict[str, list[int]] = {}
        self.mixed: list[str] = []
        self.ms: list[float] = []
        self.epochs: set[int] = set()
        self.stale = self.unsure = self.asked = 0

    async def prepare(self) -> None:
        """What each arm says to a prompt of which nothing is cached."""
        for arm in ARMS:
            await self._ranks.use({"silu_and_mul": arm}, TIMEOUT_S)
            self._pure[arm] = await tokens(self._engine, LONG, 8, f"pure-{arm}")
        if self._pure[LOUD] == self._pure["cpu"]:
            raise SystemExit("the arms say the same, so nothing could be seen")

    async def _ask(self, arm: str, name: str) -> None:
        """A prompt that the arm before has cached. Where it differs, so may the batch it ran in: asked again without a
        cache, it must say what it says alone, or nothing follows."""
        self.asked += 1
        if await tokens(self._engine, LONG, 8, f"after-{name}") == self._pure[arm]:
            return
        anew = await tokens(self._engine, LONG, 8, f"anew-{name}", f"salt-{name}")
        self.stale += anew == self._pure[arm]
        self.unsure += anew != self._pure[arm]

    async def chunk(self, number: int) -> None:
        await self._engine.collective_rpc("opswap_trace_start", args=(TRACE_CALLS,))
        load = [asyncio.create_task(stream(self._engine, 3 * number + n)) for n in range(3)]
        for count in range(CHUNK):
            arm = ARMS[count % 2]
            began = time.perf_counter()
            await self._ranks.use({"silu_and_mul": arm}, TIMEOUT_S)
            self.ms.append(1e3 * (time.perf_counter() - began))
            if count % 5 == 4:
                await self._ask(arm, f"{number}-{count}")
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
        recorded = await traces(self._engine)
        await self._engine.collective_rpc("opswap_trace_start", args=(0,))
        self.mixed += mixed_steps(recorded)
        self.epochs |= epochs_seen(recorded[0])


async def measure(model: Path, switches: int) -> dict[str, Any]:
    from opswap.adapters.common.ranks import EngineRanks
    from opswap.adapters.vllm.agent import ServedEngine
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    options = {**vllm_driver.ENGINE, "tensor_parallel_size": SIZE, "enforce_eager": True}
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=str(model), block_size=16, **options))
    await engine.collective_rpc("opswap_test_add_loud")
    group = EngineRanks(ServedEngine(engine))
    await group.start("three-ranks", Counter())
    run = Run(engine, group)
    await run.prepare()
    for number in range(-(-switches // CHUNK)):
        await run.chunk(number)
        print(f"  {len(run.ms)} switches, {len(run.mixed)} mixed steps so far", file=sys.stderr, flush=True)
    await group.stop()
    engine.shutdown()
    ms = sorted(run.ms)
    told = {"ranks": SIZE, "switches": len(ms), "epochs_that_ran": len(run.epochs), "ms_p50": ms[len(ms) // 2]}
    cached = {"prompts_asked_after_a_switch": run.asked, "of_another_arm": run.stale, "unsure": run.unsure}
    return {"mixed": len(run.mixed), "examples": run.mixed[:3], **cached, "reach": 0, **told}


def main() -> None:
    from opswap.adapters.common.demo_model import ensure_model

    cores = sorted(os.sched_getaffinity(0))
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(str(cores[rank % len(cores)]) for rank in range(SIZE))
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
    model = ensure_model(Path.home() / ".cache/opswap/models/smollm2-135m-bfloat16", "bfloat16")
    with tempfile.TemporaryDirectory(prefix="or", dir="/tmp") as folder:
        os.environ["OPSWAP_RUNTIME_DIR"] = folder
        print(json.dumps(asyncio.run(measure(model, int(sys.argv[1])))))


if __name__ == "__main__":
    main()
