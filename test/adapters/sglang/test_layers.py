"""What a model passes beyond an op is served, or runs SGLang's own code and is counted."""

from __future__ import annotations

from types import SimpleNamespace

import opswap
import pytest
import torch

#: Of the tiny Llama's log-probabilities, mean over tokens, twice what was measured; its weights are large.
MOST_OF_FP8, MOST_OF_SCALES = 0.45, 0.002


@pytest.fixture
def bypassed(engine, monkeypatch):
    """What SGLang's own code ran during the test."""
    from opswap.adapters.sglang.adapter import ADAPTER

    told: dict[str, int] = {}
    monkeypatch.setattr(ADAPTER.state, "bypassed", told)
    return told


@pytest.fixture(autouse=True)
def inference():

    torch.manual_seed(5)
    with torch.inference_mode():
        yield


def calls(op: str) -> int:
    return next(sum(impl["calls"] for impl in row["impls"]) for row in opswap.stats()["ops"] if row["op"] == op)


def norm(**changes):
    from sglang.srt.layers.layernorm import RMSNorm

    layer = RMSNorm(64, **changes)
    layer.weight.data = torch.rand(64)
    return layer


def close(one, other) -> bool:

    return torch.allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 64), (2, 3, 64), (0, 64)])
def test_a_norm_with_an_addend(bypassed, shape):

    layer, (x, residual, addend) = norm(), (torch.randn(shape) for _ in range(3))
    wanted = layer.forward_native(x.clone(), residual.clone(), addend)
    got = layer(x.clone(), residual.clone(), addend)
    assert close(got[0], wanted[0]) and close(got[1], wanted[1])
    assert close(layer(x), layer.forward_native(x))
    assert bypassed == {}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"has_weight": False}, "has no weight"),
        ({"var_hidden_size": 32}, "takes its variance over a part of the row"),
        ({"cast_x_before_out_mul": True}, "rounds before it multiplies with the weight"),
        ({"fp32_residual": True}, "keeps its residual in float32"),
        ({"override_orig_dtype": "float16"}, "writes another dtype than it reads"),
    ],
)
def test_a_norm_that_is_not_the_ops_runs_sglangs_and_is_counted_once(bypassed, changes, why):

    layer = norm(**{k: getattr(torch, v) if isinstance(v, str) else v for k, v in changes.items()})
    x, residual = torch.randn(3, 64), torch.randn(3, 64)
    opswap.reset_stats()
    for _ in range(2):
        got, wanted = layer(x, residual.clone()), layer.forward_native(x, residual.clone())
        assert torch.equal(got[0], wanted[0]) and torch.equal(got[1], wanted[1])
    assert bypassed == {f"RMSNorm: {why}": 1}
    assert calls("rms_norm") == calls("fused_add_rms_norm") == 0


def test_a_gelu_that_is_not_the_tanh_form(bypassed):
    from sglang.srt.layers.activation import GeluAndMul

    x = torch.randn(3, 64)
    for approximate, count in (("tanh", 1), ("none", 0)):
        layer = GeluAndMul(approximate)
        opswap.reset_stats()
        assert close(layer(x), layer.forward_native(x))
        assert calls("gelu_tanh_and_mul") == count
    assert bypassed == {"GeluAndMul: approximate='none'; the op is the tanh form": 1}


@pytest.mark.parametrize("neox", [True, False])
def test_rotary_takes_offsets_and_writes_keys_and_values(bypassed, neox):
    from sglang.srt.layers.rotary_embedding.base import RotaryEmbedding

    layer = RotaryEmbedding(32, 32, 128, 10000, neox, torch.float32)
    positions, offsets = torch.arange(6), torch.full((6,), 40)
    query, key, value = torch.randn(6, 128), torch.randn(6, 64), torch.randn(6, 64)
    wanted = layer.forward_native(positions, query.clone(), key.clone(), offsets)
    into = SimpleNamespace(
        value=value,
        k_buffer=torch.zeros(20, 64),
        v_buffer=torch.zeros(20, 64),
        cache_loc=torch.tensor([3, 1, 19, 4, 8, 2]),
    )
    got = layer(positions, query.clone(), key.clone(), offsets, fused_set_kv_buffer_arg=into)
    assert close(got[0], wanted[0]) and close(got[1], wanted[1])
    assert close(into.k_buffer[into.cache_loc], wanted[1]) and torch.equal(into.v_buffer[into.cache_loc], value)
    assert into.k_buffer.count_nonzero() == 6 * 64
    assert bypassed == {}


def test_a_linear_layer_with_an_addend(bypassed):
    from sglang.srt.layers.quantization.unquant import UnquantizedLinearMethod

    layer = SimpleNamespace(weight=torch.nn.Parameter(torch.randn(16, 8)))
    x, bias, addend = torch.randn(4, 8), torch.randn(16), torch.randn(4, 16)
    wanted = x @ layer.weight.T + bias + addend
    opswap.reset_stats()
    assert close(UnquantizedLinearMethod().apply_with_addend(layer, x, addend, bias), wanted)
    assert calls("linear") == 1
    layer.use_intel_amx_backend = True  # then the weight's order is the AMX kernels' own
    with pytest.raises((AttributeError, RuntimeError), match="weight_packed_linear"):
        UnquantizedLinearMethod().apply(layer, x)
    assert bypassed == {"UnquantizedLinearMethod calls: the weight is packed for AMX": 1}


@pytest.mark.parametrize("deterministic", [False, True])
def test_sglangs_setting_for_the_same_bits_in_every_batch_reaches_the_products(deterministic, engine, monkeypatch):
    from opswap.adapters.common import ops
    from opswap.adapters.sglang.layers import linear
    from sglang.srt.layers.quantization.unquant import UnquantizedLinearMethod

    asked = []
    setting = SimpleNamespace(deterministic=SimpleNamespace(enable_deterministic_inference=deterministic))
    monkeypatch.setattr(linear, "get_exec", lambda: setting)
    monkeypatch.setattr(ops, "linear", lambda *args: asked.append(args[-1]))
    layer = SimpleNamespace(weight=torch.nn.Parameter(torch.randn(16, 8)))
    UnquantizedLinearMethod().apply(layer, torch.randn(4, 8))
    model = engine.runner.model
    model.logits_processor._compute_lm_head(torch.randn(2, 128), model.lm_head)
    assert asked == [deterministic] * 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"is_all_greedy": False}, "rows that are not greedy"),
        ({"sampling_mask_batch_indices": [0]}, "a sampling mask asked for"),
        ({}, None),
    ],
)
def test_which_batches_the_op_samples(bypassed, changes, why):
    from opswap.adapters.sglang.layers.sampling import refusal

    info = SimpleNamespace(**{"is_all_greedy": True, "sampling_mask_batch_indices": None, **changes})
    assert refusal(info, return_logprob=False) == why
    wanted = "log-probabilities asked for" if info.is_all_greedy else why
    assert refusal(info, return_logprob=True) == wanted


def test_a_batch_that_samples_runs_sglangs_sampler(engine, bypassed):
    from inprocess import request
    from sglang.srt.sampling.sampling_params import SamplingParams

    asked = request(0, [1, 5, 9])
    asked.sampling_params = SamplingParams(temperature=0.7, max_new_tokens=1)
    opswap.reset_stats()
    engine.extend([asked])
    assert calls("greedy_sample") == 0
    assert bypassed == {"Sampler calls: rows that are not greedy": 1}


def test_a_head_in_float32_is_sglangs(engine, bypassed):

    model = engine.runner.model
    hidden = torch.randn(2, 128)
    wanted = hidden @ model.lm_head.weight.T
    assert close(model.logits_processor._compute_lm_head(hidden, model.lm_head), wanted)
    assert bypassed == {}
    model.logits_processor.use_fp32_lm_head = True
    try:
        assert close(model.logits_processor._compute_lm_head(hidden, model.lm_head), wanted)
    finally:
        model.logits_processor.use_fp32_lm_head = False
    assert bypassed == {"LogitsProcessor calls: computed in float32": 1}


@pytest.fixture
def attends(engine, monkeypatch):
    """Log-probabilities of the tiny Llama on caches of a dtype: on a CPU SGLang makes this backend no pool in FP8."""
    from opswap.adapters.common.functional import token_pages

    runner, prompts = engine.runner, [[1, *range(3, 40)]]
    pool, backend = runner.token_to_kv_pool, runner.attn_backend

    def told(dtype: torch.dtype, scale: float | None = None) -> torch.Tensor:
        slots = [torch.zeros_like(pool.get_key_buffer(0)).to(dtype) for _ in range(4)]
        views = [token_pages(of, backend.page) for of in slots]
        monkeypatch.setattr(backend, "_views", {0: tuple(views[:2]), 1: tuple(views[2:])})
        for layer in runner.model.model.layers:
            found = layer.self_attn.attn
            monkeypatch.setattr(found, "k_scale", None if scale is None else torch.tensor(scale))
            monkeypatch.setattr(found, "v_scale", None if scale is None else torch.tensor(scale / 2))
        opswap.reset_stats()
        return torch.tensor(engine.log_probabilities(prompts))

    return told


def test_a_cache_in_fp8(attends):
    """A scale that is a power of two moves only what is too small for a code, so it changes little."""
    exact = attends(torch.float32)
    assert calls("reshape_and_cache") > 0 == calls("reshape_and_cache_fp8")
    found, scaled = attends(torch.float8_e4m3fn), attends(torch.float8_e4m3fn, 2.0**-3)
    assert calls("reshape_and_cache_fp8") > 0 == calls("reshape_and_cache")
    assert 0 < (found - exact).abs().mean() < MOST_OF_FP8
    assert 0 < (scaled - found).abs().mean() < MOST_OF_SCALES


@pytest.mark.parametrize("low", [-torch.inf, 0.0])
def test_sinks_in_16_bits(engine, attends, monkeypatch, low):
    """Sinks at minus infinity change nothing, others do."""
    backend = engine.runner.attn_backend
    exact, heads = attends(torch.float32), engine.runner.model.model.layers[0].self_attn.attn.tp_q_head_num
    forward = type(backend).forward_extend
    sinks = torch.full((heads,), low, dtype=torch.bfloat16)
    for name in ("forward_extend", "forward_decode"):
        monkeypatch.setattr(backend, name, lambda *args, **how: forward(backend, *args, sinks=sinks, **how))
    assert torch.allclose(attends(torch.float32), exact, atol=1e-6) == (low == -torch.inf)
