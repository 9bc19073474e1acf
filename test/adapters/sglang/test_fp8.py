"""A checkpoint in block FP8, as the converter writes it for SGLang: each such layer is one op, and the model says what
its dequantised weights say in float32, but for the noise of activations in bf16."""

from __future__ import annotations

import fp8
import numpy as np
import opswap
import pytest
from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.sglang.report import of_model
from suite import calls

NOISE = 0.03  # of bf16 activations, mean over tokens
OP = "gemm_fp8_block128"
RNG = np.random.default_rng(4)
PROMPTS = [RNG.integers(3, fp8.VOCAB, size=24).tolist() for _ in range(3)]
#: SGLang takes no part of a fused layer that shares a block with another.
WIDE = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128}


def test_qwen3_says_what_its_dequantised_weights_say(start, tmp_path):
    model = fp8.convert(fp8.make("Qwen3ForCausalLM", tmp_path / "plain", **WIDE), tmp_path / "fp8", "--for", "sglang")
    wanted = fp8.hf_log_probabilities(fp8.reference(model), PROMPTS)
    engine = start(model, dtype="bfloat16")
    opswap.reset_stats()
    for name in ("cpu", "ref"):
        opswap.use(OP, name)
        try:
            got = np.concatenate(engine.log_probabilities(PROMPTS))
        finally:
            opswap.use(OP, "cpu")
        assert np.abs(got - wanted).mean() < NOISE, name
    assert of_model(0, engine.runner.model)["kernels"] == {"opswap_block_fp8": 8}
    assert calls()[OP] == 2 * 24 * 8


@pytest.mark.parametrize(
    ("layout", "op"),
    [("fp8_tensor", "gemm_fp8"), ("ct_fp8_tensor", "gemm_fp8"), ("ct_fp8_channel", "gemm_fp8"), ("ct_fp8_block", OP)],
)
def test_llama_in_other_layouts_is_served(layout, op, start, tmp_path):
    model = fp8.convert(fp8.make("LlamaForCausalLM", tmp_path / "plain", **WIDE), tmp_path / "fp8", "--to", layout)
    wanted = fp8.hf_log_probabilities(fp8.reference(model), PROMPTS)
    engine = start(model, dtype="bfloat16")
    opswap.reset_stats()
    got = np.concatenate(engine.log_probabilities(PROMPTS))
    assert np.abs(got - wanted).mean() < NOISE
    assert calls()[op] == 24 * 8


def test_a_layer_fused_of_parts_keeps_the_scale_of_each():
    import torch
    from opswap.adapters.sglang.layers.fp8_scaled_linear import UNLOADED, scales_of_rows

    assert scales_of_rows(torch.tensor([0.5, 0.25]), [2, 3]).tolist() == [0.5, 0.5, 0.25, 0.25, 0.25]
    assert scales_of_rows(torch.tensor([0.5, UNLOADED]), [2, 3]).tolist() == [0.5]
    assert scales_of_rows(torch.tensor(0.5), [5]).tolist() == [0.5]


def test_llama_whose_scales_sglang_does_not_find_is_refused(start, tmp_path):
    """SGLang 0.5.23 loads it with a warning, and everything that it says is NaN."""
    model = fp8.convert(fp8.make("LlamaForCausalLM", tmp_path / "plain", **WIDE), tmp_path / "fp8")
    with pytest.raises(AdapterRefused, match=r"in FP8 and SGLang loaded no scales for it.*opswap convert"):
        start(model, dtype="bfloat16")
