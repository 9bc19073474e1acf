"""Calibration in vLLM: which layers are measured, and the text run through an engine of this process.

`python -m opswap.adapters.vllm.calibration MODEL --text FILE --out FILE` runs vLLM offline; the worker's
opswap_calibration_* do the same in a running engine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from opswap.adapters.common import calibration
from opswap.adapters.common.calibration import CalibrationRefused, RangeCollector


def start(worker: Any) -> RangeCollector:
    """Puts the hooks on; refuses engines whose layers they would not see."""
    from vllm.model_executor.layers.linear import LinearBase

    config = worker.vllm_config
    if getattr(config.compilation_config.mode, "name", "NONE") != "NONE":
        raise CalibrationRefused("opswap: compiled layers cannot be looked into; start vLLM with --enforce-eager")
    if config.parallel_config.world_size > 1:
        raise CalibrationRefused("opswap: calibration needs one rank; start vLLM with --tensor-parallel-size 1")
    model = worker.model_runner.model
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LinearBase)}
    return RangeCollector(model, layers)


def run(model: str, text: str, out: Path, tokens: int, longest: int) -> int:
    """Prefills the text in an engine of this process; returns the number of tokens seen."""
    from vllm import LLM, SamplingParams

    extension = "opswap.adapters.vllm.worker.WorkerExtension"
    llm = LLM(
        model=model,
        enforce_eager=True,
        worker_extension_cls=extension,
        enable_prefix_caching=False,
        max_model_len=longest,
    )
    ids = llm.get_tokenizer().encode(text)[:tokens]
    length = llm.llm_engine.model_config.max_model_len - 1
    prompts = [{"prompt_token_ids": ids[i : i + length]} for i in range(0, len(ids), length)]
    llm.collective_rpc("opswap_calibration_start")
    llm.generate(prompts, SamplingParams(max_tokens=1, detokenize=False), use_tqdm=False)
    return llm.collective_rpc("opswap_calibration_stop", args=(str(out),))[0]["tokens"]


if __name__ == "__main__":
    sys.exit(calibration.main(run, "vLLM", "opswap.adapters.vllm.calibration"))
