"""Tokens of real vLLM on opswap ops equal Hugging Face's in fp32, and the counters prove which ops computed them."""

from __future__ import annotations

from suite import (  # noqa: F401  the common tests, on the eager engine
    PROMPTS,
    USED_BY_LLAMA,
    expected,
    hugging_face_tokens,
    test_every_layer_and_step_goes_through_the_ops,
    test_every_usable_implementation_gives_the_same_tokens,
    test_tiny_llama_equals_hugging_face,
)


def calls(llm) -> dict[str, int]:
    rows = llm.collective_rpc("opswap_ops")[0]["ops"]
    return {row["op"]: sum(impl["calls"] for impl in row["impls"]) for row in rows}


def test_the_compiled_model_equals_hugging_face(compiled, generate, expected):  # noqa: F811
    compiled.collective_rpc("opswap_reset_stats")
    assert generate(compiled) == expected
    counted = calls(compiled)
    assert {op for op in USED_BY_LLAMA if counted[op] == 0} == set()


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
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
    prompts = [prompt, tokenizer("Write a haiku about rain.").input_ids]
    wanted = hugging_face_tokens(smollm2, prompts, 24)

    from vllm import SamplingParams

    llm = start_llm(smollm2, enforce_eager=True, max_model_len=256)
    greedy = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True, detokenize=False)
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], greedy, use_tqdm=False)
    assert [list(output.outputs[0].token_ids) for output in outputs] == wanted
    assert "Paris" in tokenizer.decode(wanted[0])
