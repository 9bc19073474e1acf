"""One vLLM with SmolLM2 in this process, for `ab`: what shadows of every op cost, as the accounting has it.

python _ab_engine.py TOKENS      prints JSON
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"VLLM_TARGET_DEVICE": "cpu", "VLLM_PLUGINS": "opswap", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

SHARE = 0.01
PROMPTS = [[1, 5, 9, 33, 77, 200], list(range(3, 60)), [11], list(range(100, 140))]


def used_ops() -> dict[str, dict[str, Any]]:
    """Of each op that was called: what is active, and its row of the counters."""
    import opswap

    rows = {op["op"]: op for op in opswap.stats()["ops"]}
    return {name: row for name, row in rows.items() if sum(impl["calls"] for impl in row["impls"])}


def own_ns(row: dict[str, Any]) -> float:
    return float(sum(impl["calls"] * impl["mean_ns"] for impl in row["impls"]))


def measure(llm: Any, tokens: int) -> dict[str, Any]:
    import opswap
    from vllm import SamplingParams

    many = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False)
    prompts = [{"prompt_token_ids": prompt} for prompt in PROMPTS]
    llm.generate(prompts, many, use_tqdm=False)
    ops = used_ops()
    for op, row in ops.items():
        active = row["active"]
        opswap.shadow_start(
            op, active, active, salt=7, share_of_calls=SHARE, first_of_bucket=0, share_of_time=1.0, memory=1 << 30
        )
    opswap.reset_stats()
    before, began = opswap.stats()["context"].get("step", 0), time.perf_counter()
    llm.generate(prompts, many, use_tqdm=False)
    seconds = time.perf_counter() - began
    steps = opswap.stats()["context"].get("step", 0) - before
    rows = {op: shadow_row(op, row) for op, row in used_ops().items() if op in ops}
    took, own = (sum(row[key] for row in rows.values()) for key in ("took_ns", "own_ns"))
    calls = sum(row["calls"] for row in rows.values())
    told = {
        "ops": rows,
        "steps": steps,
        "calls_per_step": calls / max(steps, 1),
        "step_ms": 1e3 * seconds / max(steps, 1),
    }
    return {"over_2_share_own": took / (2 * SHARE * own), "reach": 1.3, "goal": 1.1, **told}


def shadow_row(op: str, row: dict[str, Any]) -> dict[str, Any]:
    import opswap

    status = opswap.shadow_status(op)
    opswap.shadow_stop(op)
    calls, own = sum(impl["calls"] for impl in row["impls"]), own_ns(row)
    took = status["took_ns"]
    told = {"sampled": status["recorded"], "left_out": {k: v for k, v in status["left_out"].items() if v}}
    return {"calls": calls, "own_ns": own, "took_ns": took, "over": took / (2 * SHARE * own) if own else None, **told}


def main() -> None:
    from opswap.adapters.common.demo_model import ensure_model
    from vllm import LLM

    model = ensure_model(Path.home() / ".cache/opswap/models/smollm2-135m-bfloat16", "bfloat16")
    with tempfile.TemporaryDirectory(prefix="oe", dir="/tmp") as folder:
        os.environ["OPSWAP_RUNTIME_DIR"] = folder
        small = {"max_model_len": 512, "max_num_seqs": 4, "kv_cache_memory_bytes": 128 << 20, "enforce_eager": True}
        llm = LLM(model=str(model), skip_tokenizer_init=True, enable_prefix_caching=False, **small)
        print(json.dumps(measure(llm, int(sys.argv[1]))))


if __name__ == "__main__":
    main()
