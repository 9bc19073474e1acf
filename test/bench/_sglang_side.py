"""One SGLang Engine with SmolLM2 or a tiny model, for `sglang`: answers each JSON line on stdin with one measurement.

python _sglang_side.py MODEL OPTIONS      OPTIONS are arguments of `sglang.Engine`, as JSON
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

from opswap.lifeline import end_with_parent

SMALL = {
    "device": "cpu",
    "skip_tokenizer_init": True,
    "mem_fraction_static": 0.5,
    "max_total_tokens": 8192,
    "context_length": 512,
    "max_running_requests": 8,
    "disable_cuda_graph": True,
    "sleep_on_idle": True,
    "random_seed": 1,
    "log_level": "error",
}


def seconds(engine: Any, prompts: list[list[int]], new: int) -> float:
    greedy = {"temperature": 0, "max_new_tokens": new, "ignore_eos": True}
    began = time.perf_counter()
    engine.generate(input_ids=prompts, sampling_params=greedy)
    return time.perf_counter() - began


def measure(engine: Any, batch: int, prompt: int, new: int) -> dict[str, float]:
    """Decode speed is that of the tokens after the first, whose time is the prefill's."""

    def prompts() -> list[list[int]]:
        return [[random.randrange(5, 40_000) for _ in range(prompt)] for _ in range(batch)]

    first = min(seconds(engine, prompts(), 1) for _ in range(2))
    whole = seconds(engine, prompts(), new)
    return {"decode_ms": 1e3 * (whole - first) / (new - 1), "prefill_ms": 1e3 * first}


def main() -> None:
    end_with_parent()  # also while this one is stopped
    import sglang

    model, options = sys.argv[1], json.loads(sys.argv[2])
    engine = sglang.Engine(model_path=model, **{**SMALL, "disable_radix_cache": True, **options})
    seconds(engine, [[1, 2, 3]], 2)
    print(json.dumps({"up": sglang.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(engine, **json.loads(line))), flush=True)
    engine.shutdown()


if __name__ == "__main__":
    main()
