"""Tokens of real SGLang on opswap ops equal Hugging Face's in fp32, for each usable implementation of each op."""

from __future__ import annotations

from pathlib import Path

import opswap
import pytest
from suite import (  # noqa: F401  the common tests
    BELOW,
    COUNT,
    PROMPTS,
    USED_BY_LLAMA,
    calls,
    check_every_implementation,
    expected,
    hugging_face_tokens,
    test_every_layer_and_step_goes_through_the_ops,
    test_every_usable_implementation_gives_the_same_tokens,
    test_tiny_llama_equals_hugging_face,
    usable,
)
from tiny import make_tiny

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128, "decoder_sparse_step": 1}
#: Its experts are SGLang's own, and it has no other layer with a gated activation.
USED = {"Llama": USED_BY_LLAMA, "Qwen3": USED_BY_LLAMA, "Qwen3Moe": USED_BY_LLAMA - {"silu_and_mul"}}


def test_sglangs_own_kernels_are_offered_for_every_op_of_a_model(served):
    """torch_native's attention among them; each is compared with Hugging Face by the common tests."""
    assert {op for op in USED_BY_LLAMA if "framework" not in usable(op)} == set()


@pytest.mark.parametrize(("family", "page"), [("Llama", 16), ("Qwen3", 1), ("Qwen3Moe", 16)], ids=str)
def test_other_models_and_pages_of_16(family, page, start, tmp_path):
    model = make_tiny(family, tmp_path, **(EXPERTS if family == "Qwen3Moe" else {}))
    wanted = hugging_face_tokens(model)
    engine = start(model, page_size=page)
    assert engine.generate(PROMPTS, COUNT) == wanted
    counted = calls()
    assert {op for op in USED[family] if counted[op] == 0} == set()
    check_every_implementation(engine.generate, USED[family] | BELOW, wanted)


def test_smollm2_equals_hugging_face_on_the_ops_and_on_sglangs_kernels(smollm2: Path, start):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompts = [
        tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False),
        tokenizer("Write a haiku about rain.").input_ids,
    ]
    wanted = hugging_face_tokens(smollm2, prompts, 24)
    engine = start(smollm2)
    assert engine.generate(prompts, 24) == wanted
    active = {op: opswap.active(op) for op in USED_BY_LLAMA}
    try:
        for op in active:
            opswap.use(op, "framework")
        assert engine.generate(prompts, 24) == wanted
    finally:
        for op, name in active.items():
            opswap.use(op, name)
    assert "Paris" in tokenizer.decode(wanted[0])
