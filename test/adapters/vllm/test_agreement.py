"""Tokens of real vLLM on opswap ops equal Hugging Face's in fp32, and the counters prove which ops computed them."""

from __future__ import annotations

import pytest
from conftest import PROMPTS
from tiny import greedy_tokens

USED_BY_LLAMA = {
    "rms_norm",
    "fused_add_rms_norm",
    "silu_and_mul",
    "rotary_embedding",
    "reshape_and_cache",
    "paged_attention",
    "linear",
    "greedy_sample",
}


def calls(llm) -> dict[str, int]:
    rows = llm.collective_rpc("opswap_ops")[0]["ops"]
    return {row["op"]: sum(impl["calls"] for impl in row["impls"]) for row in rows}


@pytest.fixture(scope="module")
def expected(tiny_llama):
    import torch
    from transformers import AutoModelForCausalLM

    return greedy_tokens(AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32), PROMPTS, 12)


@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_tiny_llama_equals_hugging_face(mode, request, generate, expected):
    llm = request.getfixturevalue(mode)
    llm.collective_rpc("opswap_reset_stats")
    assert generate(llm) == expected
    counted = calls(llm)
    assert {op for op in USED_BY_LLAMA if counted[op] == 0} == set()


def test_every_layer_and_step_goes_through_the_ops(eager, generate):
    """One prompt of 6 tokens and 4 new ones are 4 steps of 2 layers, exactly."""
    eager.collective_rpc("opswap_reset_stats")
    generate(eager, PROMPTS[:1], 4)
    steps, layers = 4, 2
    assert {op: calls(eager)[op] for op in sorted(USED_BY_LLAMA)} == {
        "fused_add_rms_norm": steps * layers * 2,
        "greedy_sample": steps,
        "linear": steps * (layers * 4 + 1),
        "paged_attention": steps * layers,
        "reshape_and_cache": steps * layers,
        "rms_norm": steps,
        "rotary_embedding": steps * layers,
        "silu_and_mul": steps * layers,
    }


def test_random_sampling_uses_the_op_and_its_seed(eager):
    from vllm import SamplingParams

    def sample(seed: int) -> list[int]:
        random = SamplingParams(temperature=1.0, seed=seed, max_tokens=8, ignore_eos=True, detokenize=False)
        output = eager.generate([{"prompt_token_ids": PROMPTS[0]}], random, use_tqdm=False)
        return list(output[0].outputs[0].token_ids)

    eager.collective_rpc("opswap_reset_stats")
    assert sample(7) == sample(7)
    assert len({tuple(sample(seed)) for seed in range(4)}) > 1
    assert calls(eager)["gumbel_sample"] == 6 * 8


def test_smollm2_equals_hugging_face(smollm2, start_llm):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
    prompts = [prompt, tokenizer("Write a haiku about rain.").input_ids]
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    expected = greedy_tokens(model, prompts, 24)
    del model

    from vllm import SamplingParams

    llm = start_llm(smollm2, enforce_eager=True, max_model_len=256)
    greedy = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True, detokenize=False)
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], greedy, use_tqdm=False)
    assert [list(output.outputs[0].token_ids) for output in outputs] == expected
    assert "Paris" in tokenizer.decode(expected[0])
