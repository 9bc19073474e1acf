"""VLLM_BATCH_INVARIANT, vLLM's own setting, reaches every product of the seams; without it none is asked for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from opswap.adapters.common import ops
from opswap.adapters.vllm import framework

SETTING = "VLLM_BATCH_INVARIANT"


@pytest.fixture(params=[False, True])
def invariant(request, monkeypatch) -> bool:
    from vllm import envs

    monkeypatch.setitem(vars(envs), SETTING, request.param)  # vLLM reads the environment once
    return request.param


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, bool]]:
    """Which products were called, and whether for the same bits in every batch."""
    found: list[tuple[str, bool]] = []
    for op in ("linear", "gemm_fp8_block128"):
        monkeypatch.setattr(ops, op, lambda *args, op=op: found.append((op, args[-1])))
    return found


def layer_of(dtype: str) -> SimpleNamespace:
    import torch

    def parameter(*shape: int, of: str = dtype):
        return torch.nn.Parameter(torch.ones(shape, dtype=getattr(torch, of)), requires_grad=False)

    scale = parameter(1, 1, of="float32")
    return SimpleNamespace(weight=parameter(16, 32), weight_scale_inv=scale, logical_widths=[16])


def test_linear_layers_and_the_head(invariant, asked):
    import torch
    from opswap.adapters.vllm.layers import linear

    for kind in linear.REPLACEMENTS.values():
        layer, method = layer_of("bfloat16"), kind.__new__(kind)
        method.process_weights_after_loading(layer)
        method.apply(layer, torch.ones(3, 32, dtype=torch.bfloat16))
        layer.cpu_linear(torch.ones(3, 32, dtype=torch.bfloat16), layer.opswap_weight)
    assert asked == [("linear", invariant)] * 4


def test_block_fp8_layers(invariant, asked):
    import torch
    from opswap.adapters.vllm.layers.fp8_linear import OpswapFp8BlockKernel

    layer, kernel = layer_of("float8_e4m3fn"), OpswapFp8BlockKernel.__new__(OpswapFp8BlockKernel)
    kernel.config = SimpleNamespace(out_dtype=torch.bfloat16)
    kernel.process_weights_after_loading(layer)
    kernel.apply_weights(layer, torch.ones(3, 32, dtype=torch.bfloat16))
    assert asked == [("gemm_fp8_block128", invariant)]


def test_torchs_product_is_no_choice_on_a_cpu_then(invariant):
    assert ("linear" in framework.here(on_cpu=True)) == invariant
    if invariant:
        assert SETTING in framework.here(on_cpu=True)["linear"]
