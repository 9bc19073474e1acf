"""Files for ranks in real vLLM: its sharded_state loads them, and the model says what the unsharded checkpoint says."""

from __future__ import annotations

import asyncio
import os

import fp8
import numpy as np
import pytest

RNG = np.random.default_rng(8)
PROMPTS = [RNG.integers(3, 250, size=size).tolist() for size in (61, 20)]
# Two ranks add up in another order than one does: noise of bf16, as for FP8 against its dequantised weights.
NOISE = 0.03
MODELS = {
    "llama": ("LlamaForCausalLM", {"attention_bias": True, "vocab_size": 250}),
    "qwen2": ("Qwen2ForCausalLM", {"hidden_size": 512}),
    "qwen3": ("Qwen3ForCausalLM", {"tie_word_embeddings": True}),
}
WIDTHS = {"intermediate_size": 512, "head_dim": 128}
STARTED = {"dtype": "bfloat16", "enforce_eager": True, "skip_tokenizer_init": True, "max_model_len": 128}


@pytest.fixture(scope="module")
def unsharded(tmp_path_factory, start_llm):
    """By family and layout: a source, and what the checkpoint says that is made of it for any number of ranks."""
    made = {}

    def get(family: str, to: str):
        if (family, to) not in made:
            folder = tmp_path_factory.mktemp(f"{family}-{to}")
            kind, changes = MODELS[family]
            source = fp8.make(kind, folder / "plain", **{**WIDTHS, **changes})
            whole = fp8.convert(source, folder / "whole", "--to", to)
            made[family, to] = source, fp8.vllm_log_probabilities(start_llm(whole, **STARTED), PROMPTS)
        return made[family, to]

    return get


def cut(source, to: str, ranks: int, folder):
    return fp8.convert(source, folder / f"ranks-{ranks}", "--to", to, "--tensor-parallel", str(ranks))


@pytest.mark.parametrize(("family", "to"), [("llama", "fp8_block128"), ("qwen2", "bf16")])
def test_one_rank_says_the_same(family, to, unsharded, tmp_path, start_llm):
    source, expected = unsharded(family, to)
    sharded = start_llm(cut(source, to, 1, tmp_path), load_format="sharded_state", **STARTED)
    assert (fp8.vllm_log_probabilities(sharded, PROMPTS) == expected).all()


def two_ranks(model) -> np.ndarray:
    """Log-probabilities of an engine of two processes that read their own files."""
    from conftest import ENGINE
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.sampling_params import RequestOutputKind, SamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM

    options = {**ENGINE, **STARTED, "tensor_parallel_size": 2, "load_format": "sharded_state"}
    forced = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY)

    async def run() -> list[float]:
        engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=str(model), **options))
        told = []
        try:
            for i, prompt in enumerate(PROMPTS):
                async for output in engine.generate({"prompt_token_ids": prompt}, forced, f"p{i}"):
                    told += [
                        at[token].logprob for token, at in zip(prompt[1:], output.prompt_logprobs[1:], strict=True)
                    ]
        finally:
            engine.shutdown()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
        return told

    changed = {"VLLM_CPU_OMP_THREADS_BIND": "0|1", "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        return np.array(asyncio.run(run()))
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.mark.parametrize(("family", "to"), [("llama", "fp8_block128"), ("qwen3", "bf16")])
def test_two_ranks_say_the_same(family, to, unsharded, tmp_path):
    source, expected = unsharded(family, to)
    got = two_ranks(cut(source, to, 2, tmp_path))
    assert np.abs(got - expected).mean() < NOISE
    # Another model would be far off: the bound can tell.
    shuffled = np.random.default_rng(1).permutation(expected)
    assert np.abs(shuffled - expected).mean() > 10 * NOISE
