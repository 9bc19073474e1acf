"""Converted checkpoints in real vLLM: every block FP8 layer is one opswap op, and the model says what it should.

Judged by the log-probabilities of given tokens against the dequantised weights in float32: a wrong scale still gives
plausible answers, and log-probabilities that are off by far more than the 0.03 of bf16.
"""

from __future__ import annotations

import fp8
import numpy as np
import opswap
import pytest
from opswap.adapters.common.fp8 import fp8_scaled_linear
from opswap.adapters.common.offline import Attached
from opswap.adapters.vllm import attach, doctor
from opswap.adapters.vllm.adapter import ADAPTER
from opswap.adapters.vllm.layers.fp8_linear import check_parts, refusal

NOISE = 0.03  # of bf16 activations, mean over tokens
OP = "gemm_fp8_block128"
RNG = np.random.default_rng(4)
PROMPTS = [RNG.integers(3, fp8.VOCAB, size=size).tolist() for size in (97, 40, 12)]


def start(start_llm, model, **changes):
    return start_llm(model, **{"dtype": "bfloat16", "enforce_eager": True, "skip_tokenizer_init": True, **changes})


def calls(llm, op: str) -> int:
    rows = llm.collective_rpc("opswap_ops")[0]["ops"]
    return next(sum(impl["calls"] for impl in row["impls"]) for row in rows if row["op"] == op)


def use(attached: Attached, **changes: str) -> dict:
    wanted = {"changes": [{"op": op, "impl": impl} for op, impl in changes.items()]}
    return attached.run(attached.agent.ask("use", wanted))


@pytest.mark.parametrize("kind", ["LlamaForCausalLM", "Qwen3ForCausalLM"])
def test_tiny_models_say_what_their_dequantised_weights_say(kind, tmp_path, start_llm):
    model = fp8.convert(fp8.make(kind, tmp_path / "plain"), tmp_path / "fp8")
    expected = fp8.hf_log_probabilities(fp8.reference(model), PROMPTS)
    llm = start(start_llm, model)
    llm.collective_rpc("opswap_reset_stats")
    got = fp8.vllm_log_probabilities(llm, PROMPTS)
    assert np.abs(got - expected).mean() < NOISE
    report = llm.collective_rpc("opswap_report")[0]
    assert report["kernels"] == {"OpswapFp8BlockKernel": 8}
    assert calls(llm, OP) % 8 == 0 < calls(llm, OP)
    checks = {check["name"]: check for check in doctor.engine_checks(ADAPTER.state, [report])}
    assert checks["in use"]["state"] == checks["bypassed layers"]["state"] == "ok", checks
    with attach(llm, f"test-{kind}") as attached:
        acknowledged = use(attached, gemm_fp8_block128="ref")
        assert acknowledged["acks"][0]["applied"] == "live"
        opswap.reset_stats()
        slow = fp8.vllm_log_probabilities(llm, PROMPTS[1:])
        used = {row["op"]: {i["name"] for i in row["impls"] if i["calls"]} for row in opswap.stats()["ops"]}
        use(attached, gemm_fp8_block128="cpu")
    assert used[OP] == {"ref"}
    assert np.abs(slow - expected[len(PROMPTS[0]) - 1 :]).mean() < NOISE


def test_a_model_in_bf16_says_what_it_says_in_float32(tmp_path, start_llm):
    model = fp8.make("LlamaForCausalLM", tmp_path / "plain")
    expected = fp8.hf_log_probabilities(fp8.reference(model), PROMPTS)
    llm = start(start_llm, model)
    llm.collective_rpc("opswap_reset_stats")
    got = fp8.vllm_log_probabilities(llm, PROMPTS)
    assert np.abs(got - expected).mean() < NOISE
    assert calls(llm, "linear") > 8  # four of each layer, and the head for what is asked of a prompt and what follows
    assert calls(llm, OP) == calls(llm, "gemm_fp8") == 0


@pytest.mark.parametrize("layout", ["fp8_tensor", "ct_fp8_tensor", "ct_fp8_channel"])
def test_scales_of_weights_and_channels_are_served(layout, tmp_path, start_llm):
    model = fp8.convert(fp8.make("LlamaForCausalLM", tmp_path / "plain"), tmp_path / "fp8", "--to", layout)
    expected = fp8.hf_log_probabilities(fp8.reference(model), PROMPTS)
    llm = start(start_llm, model)
    got = fp8.vllm_log_probabilities(llm, PROMPTS)
    assert np.abs(got - expected).mean() < NOISE
    assert llm.collective_rpc("opswap_report")[0]["kernels"] == {"OpswapFp8Kernel": 8}
    assert calls(llm, "gemm_fp8") % 8 == 0 < calls(llm, "gemm_fp8")


@pytest.fixture
def scaled():
    """Rows in float16 times a weight whose scales lie 2^28 apart: outputs of the other rows would overflow float16 with
    the scale of row 70. What is right, in float64."""
    import torch
    from opswap import torch_ops

    torch_ops.register()
    rng = np.random.default_rng(5)
    x = torch.from_numpy(rng.normal(size=(5, 320))).half()
    weight = rng.normal(size=(140, 320)) * 60
    weight[70] /= 32
    codes = torch.from_numpy(weight).to(torch.float8_e4m3fn)
    scale = torch.full((140,), 2.0**-20)
    scale[70] = 2.0**8
    right = (x.double() @ codes.double().T * scale.double()).numpy()
    assert 6e3 < np.abs(right[:, 70]).max() < 6e4
    return x, codes, scale, right


def test_scales_of_channels_that_lie_far_apart_overflow_nothing_in_float16(scaled):
    import torch

    x, codes, scale, right = scaled
    got = fp8_scaled_linear(x, codes, scale, None, torch.float16)
    np.testing.assert_allclose(got.double().numpy(), right, rtol=1e-2, atol=1e-6)
    one = fp8_scaled_linear(x, codes, scale[:1], torch.ones(140).half(), torch.float16)
    wanted = x.double() @ codes.double().T * 2.0**-20 + 1
    np.testing.assert_allclose(one.double().numpy(), wanted.numpy(), rtol=1e-3)


@pytest.mark.parametrize("way", ["token", "tensor", "static"])
def test_where_kernels_multiply_codes_the_input_is_quantised_as_the_checkpoint_says(way, scaled, monkeypatch):
    import torch
    from opswap.adapters.common import fp8 as common

    x, codes, scale, right = scaled
    static = torch.tensor(0.01) if way == "static" else None
    rows, scales = common.scaled_rows(x, static, way == "token")
    assert scales.shape == ((5,) if way == "token" else (1,))
    assert way != "static" or scales.item() == static.item()
    assert (rows.float().abs().amax(1) == 448).sum() == {"token": 5, "tensor": 1, "static": 0}[way]
    monkeypatch.setattr(common, "wants_codes", lambda _: True)
    got = fp8_scaled_linear(x, codes, scale, None, torch.float16, static, way == "token").double().numpy()
    x, y = got / scale.numpy(), right / scale.numpy()
    assert 0 < 1 - 2 * (x * y).sum() / ((x * x).sum() + (y * y).sum()) < 1e-3


def test_parts_that_share_a_block_are_refused(tmp_path, start_llm):
    """What vLLM 0.33 loads and computes wrongly when it is forced."""
    ragged = {"hidden_size": 384, "num_attention_heads": 3, "num_key_value_heads": 1}
    model = fp8.convert(fp8.make("LlamaForCausalLM", tmp_path / "plain", **ragged), tmp_path / "fp8")
    fp8.force_into_fp8(model, ("q_proj", "k_proj", "v_proj"))
    with pytest.raises(ValueError, match=r"qkv_proj is a fused layer .* have 192, 64, 64 rows"):
        start(start_llm, model)


def test_what_the_kernel_cannot_serve():
    import torch

    check_parts("a", [128, 256, 100])
    assert refusal((128, 128), torch.float16) is None
    assert "got 64 x 128" in refusal((64, 128), torch.bfloat16)
    assert "--dtype bfloat16" in refusal((128, 128), torch.float32)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("Qwen3MoeForCausalLM", fp8.EXPERTS), ("DeepseekV2ForCausalLM", fp8.MLA)],
    ids=["qwen3", "dsv2"],
)
def test_mixtures_of_experts_are_converted_block_by_block(kind, changes, tmp_path):
    """Each code and scale is what numpy makes of the source; they run as soon as their seams exist."""
    source = fp8.make(kind, tmp_path / "plain", **changes)
    target = fp8.convert(source, tmp_path / "fp8")
    before, after = fp8.tensors_of(source), fp8.tensors_of(target)
    quantised = [name for name in before if f"{name}_scale_inv" in after]
    experts = [name for name in before if ".mlp.experts." in name]
    assert experts and set(experts) <= set(quantised)
    for name, x in before.items():
        if name not in quantised:
            assert after[name].equal(x)
            continue
        codes, scales = fp8.fp8_block128(x.float().numpy())
        assert (after[name].view(dtype=__import__("torch").uint8).numpy() == codes.view(np.uint8)).all(), name
        assert (after[f"{name}_scale_inv"].numpy() == scales).all(), name
