"""vLLM on a card that is played: its own CUDA platform and operators, whose kernels are CPU code here.

A program of its own, since a process of vLLM's has one platform. The operators are those of vLLM's library, loaded with
a libcuda.so.1 that has nothing in it, so each call is held against their real schemas; kernels of the key CPU stand for
the compiled ones. Prints as JSON what came out; test_cuda.py judges it.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["VLLM_USE_DEEP_GEMM"] = "0"

import torch
import vllm.platforms
from vllm.platforms import cuda
from vllm.platforms.interface import DeviceCapability


class PlayedCuda(cuda.NonNvmlCudaPlatform):
    @classmethod
    def get_device_capability(cls, device_id: int = 0) -> DeviceCapability:
        return DeviceCapability(9, 0)


vllm.platforms._current_platform = PlayedCuda()

import opswap  # noqa: E402  behind the platform, as are those below
from opswap.adapters.common import checks, fp8, ops, report  # noqa: E402
from opswap.adapters.common.plugin import activate  # noqa: E402
from opswap.adapters.vllm.adapter import ADAPTER  # noqa: E402

STATUS = "cuda: device 0 is NVIDIA H100 80GB HBM3 (sm_90, 132 SMs); driver for CUDA 13.0"
CALLED: list[str] = []
KERNELS = torch.library.Library("_C", "IMPL")
GENERATOR = torch.Generator().manual_seed(7)


def stands_for(kernel):
    """Registers a function of the operator's name, which notes that it was called."""

    def run(*args):
        CALLED.append(kernel.__name__)
        kernel(*args)

    KERNELS.impl(kernel.__name__, run, "CPU")


@stands_for
def silu_and_mul(result, input) -> None:
    half = input.shape[-1] // 2
    result.copy_(torch.nn.functional.silu(input[:, :half].double()) * input[:, half:].double())


@stands_for
def gelu_tanh_and_mul(out, input) -> None:
    half = input.shape[-1] // 2
    out.copy_(torch.nn.functional.gelu(input[:, :half].double(), approximate="tanh") * input[:, half:].double())


@stands_for
def rms_norm(result, input, weight, epsilon) -> None:
    x = input.double()
    result.copy_(x * (x.square().mean(-1, keepdim=True) + epsilon).rsqrt() * weight.double())


@stands_for
def fused_add_rms_norm(input, residual, weight, epsilon) -> None:
    residual.add_(input)
    x = residual.double()
    input.copy_(x * (x.square().mean(-1, keepdim=True) + epsilon).rsqrt() * weight.double())


@stands_for
def rotary_embedding(positions, query, key, head_size, cos_sin_cache, is_neox, offset=0, inverse=False) -> None:
    assert (head_size, is_neox, offset, inverse) == (query.shape[-1], True, 0, False)
    cos, sin = cos_sin_cache[positions].double().chunk(2, dim=-1)
    for x in (query, key):
        left, right = x.double().chunk(2, dim=-1)
        c, s = cos[:, None], sin[:, None]
        x.copy_(torch.cat((left * c - right * s, right * c + left * s), dim=-1))


@stands_for
def per_token_group_fp8_quant(input, output_q, output_s, group, eps, low, high, ue8m0, transposed, aligned) -> None:
    assert (low, high, ue8m0, transposed) == (-448, 448, False, True) and input.is_contiguous()
    tokens = input.shape[0]
    assert output_s.stride() == (1, -(-tokens // 4) * 4 if aligned else tokens)
    groups = input.float().unflatten(-1, (-1, group))
    scale = groups.abs().amax(-1).clamp(min=eps) / high
    output_s.copy_(scale)
    output_q.copy_((groups / scale[..., None]).clamp(low, high).flatten(-2).to(output_q.dtype))


@stands_for
def dynamic_per_token_scaled_fp8_quant(result, input, scale, upper) -> None:
    assert upper is None
    scale.copy_(input.float().abs().amax(-1, keepdim=True) / 448)
    result.copy_((input.float() / scale).clamp(-448, 448).to(result.dtype))


@stands_for
def cutlass_scaled_mm(out, a, b, a_scales, b_scales, bias) -> None:
    """As CUTLASS reads block scales: those of a row lie M apart, whatever the strides say."""
    tokens, columns = a.shape
    if a_scales.shape == (tokens, 1):
        out.copy_((a.double() @ b.double()) * a_scales * b_scales.view(-1) + bias)
        return
    assert a_scales.shape == (tokens, columns // 128) and a_scales.stride() == (1, tokens)
    assert bias is None and b.stride(0) == 1
    x = a.double() * a_scales.double().repeat_interleave(128, dim=1)
    w = b.double() * b_scales.double().repeat_interleave(128, dim=0).repeat_interleave(128, dim=1)[:, : b.shape[1]]
    out.copy_(x @ w)


def normal(*shape, dtype=torch.bfloat16):
    return torch.randn(shape, generator=GENERATOR).to(dtype)


def error(got, wanted) -> float:
    """1 - 2<x,y>/(x.x + y.y)"""
    x, y = got.double(), wanted.double()
    return float(1 - 2 * (x * y).sum() / (x.square().sum() + y.square().sum()))


def by_ref(op: str, *args) -> None:
    opswap.call(op, *args, impl="ref")


def small_ops() -> dict[str, float]:
    """Each op as it runs by default, beside the plain implementation."""
    x, residual, weight = normal(5, 64), normal(5, 64), normal(64)
    cache, positions = normal(16, 32), torch.tensor([3, 0, 15, 8, 1])
    found = {}
    for op, make in {
        "silu_and_mul": lambda: (torch.empty(5, 32, dtype=x.dtype), x),
        "gelu_tanh_and_mul": lambda: (torch.empty(5, 32, dtype=x.dtype), x),
        "rms_norm": lambda: (torch.empty_like(x), x, weight, 1e-5),
        "fused_add_rms_norm": lambda: (x.clone(), residual.clone(), weight, 1e-5),
        "rotary_embedding": lambda: (positions, x.clone().view(5, 2, 32), residual.clone().view(5, 2, 32), cache, True),
        "linear": lambda: (torch.empty(5, 24, dtype=x.dtype), x, WEIGHT[:24, :64], WEIGHT[0, :24]),
    }.items():
        got, wanted = make(), make()
        getattr(ops, op)(*got)
        by_ref(op, *wanted)
        found[op] = max(error(a, b) for a, b in zip(got, wanted, strict=True) if isinstance(a, torch.Tensor))
    return found


WEIGHT = normal(208, 256)


def kernel_of(act: tuple[int, int], weight: tuple[int, int]) -> object:
    """What vLLM chooses for a layer whose scales are per so many rows and columns; -1: all."""
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.model_executor.kernels.linear import init_fp8_linear_kernel
    from vllm.model_executor.layers.quantization.utils.quant_utils import GroupShape, create_fp8_quant_key

    with set_current_vllm_config(VllmConfig()):
        return init_fp8_linear_kernel(
            activation_quant_key=create_fp8_quant_key(static=False, group_shape=GroupShape(*act)),
            weight_quant_key=create_fp8_quant_key(static=True, group_shape=GroupShape(*weight)),
            weight_shape=WEIGHT.shape,
            input_dtype=torch.bfloat16,
            out_dtype=torch.bfloat16,
        )


def channel_layer() -> tuple[object, torch.Tensor]:
    """A layer as vLLM builds one of a checkpoint with a scale per output channel, and its weight in float64."""
    layer = torch.nn.Module()
    codes, scale = (WEIGHT * 20).to(torch.float8_e4m3fn), torch.rand(len(WEIGHT), 1, generator=GENERATOR)
    layer.weight = torch.nn.Parameter(codes.t(), requires_grad=False)
    layer.weight_scale = torch.nn.Parameter(scale, requires_grad=False)
    layer.input_scale = None
    layer.kernel = kernel_of((1, -1), (-1, 1))
    layer.kernel.process_weights_after_loading(layer)
    return layer, codes.double() * scale.double()


def block_layer() -> tuple[object, torch.Tensor]:
    """A layer as vLLM builds one of a checkpoint in block FP8, and its weight in float64."""
    rows, columns = WEIGHT.shape
    scale = torch.rand(2, 2, generator=GENERATOR) * 0.01 + 0.001
    codes = (normal(rows, columns) * 20).to(torch.float8_e4m3fn)
    layer = torch.nn.Module()
    layer.weight = torch.nn.Parameter(codes, requires_grad=False)
    layer.weight_scale_inv = torch.nn.Parameter(scale, requires_grad=False)
    layer.logical_widths, layer.weight_block_size = [128, 80], [128, 128]
    layer.kernel = kernel_of((1, 128), (128, 128))
    layer.kernel.process_weights_after_loading(layer)
    each = scale.double().repeat_interleave(128, dim=0).repeat_interleave(128, dim=1)[:rows, :columns]
    return layer, codes.double() * each


def products(op: str, layer, weight) -> dict[str, object]:
    """The layer on opswap's ops as they are on a card: by default, and with each implementation named."""
    from vllm.model_executor.kernels.linear import fp8_scaled_mm_is_batch_invariant

    kernel = layer.kernel
    found: dict[str, object] = {"kernel": type(kernel).__name__, "invariant": fp8_scaled_mm_is_batch_invariant(kernel)}
    for name, tokens in (("framework", 6), ("cpu", 6), ("ref", 8)):
        opswap.use("quantize_fp8", name)
        opswap.use(op, name)
        x, bias = normal(tokens, WEIGHT.shape[1]), normal(WEIGHT.shape[0])
        found[name] = error(kernel.apply_weights(layer, x, bias), x.double() @ weight.T + bias.double())
    return found


def backend_for(cache: str) -> str:
    """What vLLM takes for `--attention-backend OPSWAP` and a --kv-cache-dtype, or why it does not."""
    from vllm.config.attention import AttentionConfig
    from vllm.v1.attention.selector import AttentionSelectorConfig

    wanted = {"has_sink": True, "has_sliding_window": True, "use_per_head_quant_scales": True}
    layer = AttentionSelectorConfig(
        head_size=128, dtype=torch.bfloat16, kv_cache_dtype=cache, block_size=16, use_batch_invariant=True, **wanted
    )
    try:
        return PlayedCuda.get_attn_backend_cls(AttentionConfig(backend="OPSWAP").backend, layer)
    except ValueError as refused:
        return str(refused)


def main() -> None:
    real = opswap.version
    opswap.version = lambda: {**real(), "device_status": STATUS}
    activate(ADAPTER)
    active = {op["op"]: opswap.active(op["op"]) for op in opswap.manifest()["ops"]}
    with torch.inference_mode():
        told: dict[str, object] = {"active": active, "small": small_ops()}
        fp8.wants_codes = lambda _: True  # of tensors that lie in host memory here
        told["block"] = products("gemm_fp8_block128", *block_layer())
        told["channel"] = products("gemm_fp8", *channel_layer())
    told["backends"] = {cache: backend_for(cache) for cache in ("auto", "fp8", "fp8_per_token_head", "fp8_e5m2")}
    counted = report.of_rank(ADAPTER, 0)
    counted["calls"]["paged_attention"] = 1  # of the request that would have come
    counted |= {"step": 1, "kernels": {"OpswapFp8BlockKernel": 1, "OpswapFp8Kernel": 1}}
    told |= {"called": sorted(set(CALLED)), "checks": checks.engine_checks(ADAPTER, [counted])}
    told["why"] = opswap.why("gemm_fp8_block128")["impls"]
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
