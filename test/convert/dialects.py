"""Public dialects of quantised checkpoints, each with the numbers that its codes and scales stand for.

A dialect gives tensors, what describes them, and by name the weights as float32: code times scale, rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

E4M3, E5M2, E8M0 = ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e8m0fnu
BF16 = ml_dtypes.bfloat16
Array = np.ndarray
FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


@dataclass
class Checkpoint:
    """A small one in some dialect: its tensors, the exact `weights` that they mean, and what its files say."""

    tensors: dict[str, Array]
    weights: dict[str, Array]
    quantization: dict[str, Any] | None = None
    files: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


Make = Callable[[np.random.Generator], Checkpoint]
DIALECTS: dict[str, Make] = {}
NAME = "model.layers.0.mlp.down_proj"


def dialect(name: str) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        DIALECTS[name] = make
        return make

    return add


def finite(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = E4M3) -> Array:
    """Every finite code, in no order."""
    every = np.arange(256).astype(np.uint8).view(dtype)
    every = every[np.isfinite(every.astype(np.float32))]
    codes = np.resize(every, shape)
    rng.shuffle(codes.reshape(-1))
    return codes


def scales(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    values = np.exp2(rng.uniform(-11, -3, shape))
    if dtype is np.uint8:
        return np.rint(np.log2(values) + 127).astype(np.uint8)
    return values.astype(dtype)


def number(scale: Array) -> Array:
    """Bytes are exponents: 2 to the power of byte - 127."""
    return np.ldexp(np.float32(1), scale.astype(int) - 127) if scale.dtype == np.uint8 else scale.astype(np.float32)


def times(codes: Array, scale: Array, block: tuple[int, int]) -> Array:
    """By blocks of the last two dimensions, whose last ones may be short."""
    rows, columns = codes.shape[-2:]
    spread = np.repeat(np.repeat(number(scale), block[0], -2), block[1], -1)[..., :rows, :columns]
    return codes.astype(np.float32) * spread


def words(codes: Array, bits: int, axis: int) -> Array:
    """Codes that are not negative in 32 bits, the first in the lowest; zeros fill up the last word."""
    each = 32 // bits
    moved = np.moveaxis(codes.astype(np.uint64), axis, -1)
    padded = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(0, -moved.shape[-1] % each)])
    grouped = padded.reshape(*padded.shape[:-1], -1, each)
    packed = (grouped << (np.arange(each, dtype=np.uint64) * np.uint64(bits))).sum(-1, dtype=np.uint64)
    return np.ascontiguousarray(np.moveaxis(packed.astype(np.uint32).view(np.int32), -1, axis))


def ct(weights: dict[str, Any], form: str, **more: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}, **more}


def _fp8(
    suffix: str, quantization: dict[str, Any] | None, scale: Any, block: tuple[int, int], dtype: Any = E4M3
) -> Make:
    """A matrix of 300 x 416 codes; `scale` is the shape and type of its scales."""
    shape, kind = scale

    def make(rng: np.random.Generator) -> Checkpoint:
        codes, own = finite(rng, (300, 416), dtype), scales(rng, shape, kind)
        grid = own.reshape((1, 1) if own.size == 1 else tuple(n for n in shape if n > 1 or len(shape) == 2))
        grid = grid[:, None] if grid.ndim == 1 else grid
        tensors = {f"{NAME}.weight": codes, f"{NAME}.{suffix}": own}
        return Checkpoint(tensors, {f"{NAME}.weight": times(codes, grid, block)}, quantization)

    return make


def _block(high: int, wide: int, **more: Any) -> dict[str, Any]:
    return {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [high, wide], **more}


CT8 = {"num_bits": 8, "type": "float", "symmetric": True}
WHOLE = (300, 416)
DIALECTS |= {
    "fp8 of blocks, DeepSeek's": _fp8("weight_scale_inv", _block(128, 128), ((3, 4), np.float32), (128, 128)),
    "fp8 of blocks, exponents as scales": _fp8(
        "weight_scale_inv", _block(128, 128, scale_fmt="ue8m0"), ((3, 4), E8M0), (128, 128)
    ),
    "fp8 of blocks, exponents in bytes": _fp8("weight_scale_inv", _block(128, 128), ((3, 4), np.uint8), (128, 128)),
    "fp8 of blocks, DeepSeek's own names": _fp8("scale", _block(128, 128), ((3, 4), E8M0), (128, 128)),
    "fp8 of small blocks": _fp8("weight_scale_inv", _block(64, 32), ((5, 13), BF16), (64, 32)),
    "fp8 of groups of columns": _fp8("weight_scale_inv", _block(1, 128), ((300, 4), np.float16), (1, 128)),
    "fp8 of groups of rows": _fp8("weight_scale", _block(100, 1), ((3, 416), np.float64), (100, 1)),
    "fp8, one scale, transformers' static": _fp8(
        "weight_scale_inv", {"quant_method": "fp8", "weight_block_size": None}, ((), BF16), WHOLE
    ),
    "fp8, one scale, vLLM's": _fp8("weight_scale", {"quant_method": "fp8"}, ((1,), np.float32), WHOLE),
    "fbgemm_fp8": _fp8("weight_scale", {"quant_method": "fbgemm_fp8"}, ((300, 1), np.float32), (1, 416)),
    "ModelOpt FP8": _fp8("weight_scale", {"quant_method": "modelopt", "quant_algo": "FP8"}, ((), np.float32), WHOLE),
    "ModelOpt FP8 of blocks": _fp8(
        "weight_scale", {"quant_method": "modelopt", "quant_algo": "FP8_PB_WO"}, ((3, 1, 4, 1), np.float32), (128, 128)
    ),
    "ModelOpt FP8 of rows": _fp8(
        "weight_scale",
        {"quant_method": "modelopt", "quant_algo": "FP8_PER_CHANNEL_PER_TOKEN"},
        ((300,), np.float32),
        (1, 416),
    ),
    "ModelOpt MXFP8": _fp8(
        "weight_scale", {"quant_method": "modelopt", "quant_algo": "MXFP8"}, ((300, 13), np.uint8), (1, 32)
    ),
    "Quark FP8": _fp8(
        "weight_scale",
        {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp8_e4m3"}}},
        ((1,), np.float32),
        WHOLE,
    ),
    "compressed-tensors FP8, one scale": _fp8("weight_scale", ct(CT8, "float-quantized"), ((1,), BF16), WHOLE),
    "compressed-tensors FP8 of rows": _fp8("weight_scale", ct(CT8, "float-quantized"), ((300, 1), BF16), (1, 416)),
    "compressed-tensors FP8 of blocks": _fp8(
        "weight_scale", ct({**CT8, "block_structure": [128, 128]}, "float-quantized"), ((3, 4), BF16), (128, 128)
    ),
    "compressed-tensors MXFP8": _fp8(
        "weight_scale", ct({**CT8, "group_size": 32}, "mxfp8-quantized"), ((300, 13), np.uint8), (1, 32)
    ),
    "fp8 e5m2": _fp8("weight_scale", {"quant_method": "fp8"}, ((300, 1), np.float32), (1, 416), E5M2),
    "fp8 e4m3fnuz": _fp8("weight_scale", {"quant_method": "fp8"}, ((1,), np.float32), WHOLE, ml_dtypes.float8_e4m3fnuz),
    "fp8 e5m2fnuz": _fp8("weight_scale", {"quant_method": "fp8"}, ((1,), np.float32), WHOLE, ml_dtypes.float8_e5m2fnuz),
    "opswap's fp8_channel": _fp8(
        "weight_scale", {"quant_method": "opswap", "layout": "fp8_channel"}, ((300, 1), np.float32), (1, 416)
    ),
}
EXPERTS = "model.layers.0.mlp.experts"
STACKED = {
    "blocks, the last of each expert short": ((5, 3, 3), (128, 128), np.float32),
    "rows": ((5, 300, 1), (1, 320), BF16),
    "rows, two dimensions": ((5, 300), (1, 320), np.float32),
    "columns": ((5, 1, 320), (300, 1), BF16),
    "experts": ((5,), (300, 320), np.float32),
    "experts, three dimensions": ((5, 1, 1), (300, 320), np.float32),
    "all of them": ((1,), (300, 320), np.float32),
}


def _stacked(kind: str) -> Make:
    shape, block, dtype = STACKED[kind]

    def make(rng: np.random.Generator) -> Checkpoint:
        codes, own = finite(rng, (5, 300, 320)), scales(rng, shape, dtype)
        suffix = "scale" if dtype is BF16 else "scale_inv"
        tensors = {f"{EXPERTS}.gate_up_proj": codes, f"{EXPERTS}.gate_up_proj_{suffix}": own}
        grid = own.reshape({1: (-1, 1, 1), 2: (*shape, 1)}.get(own.ndim, shape))
        return Checkpoint(tensors, {f"{EXPERTS}.gate_up_proj": times(codes, grid, block)}, _block(128, 128))

    return make


DIALECTS |= {f"stacked experts in fp8, scales of {kind}": _stacked(kind) for kind in STACKED}


def _groups(
    rng: np.random.Generator, shape: tuple[int, int], bits: int, size: int, order: bool = False
) -> tuple[Array, Array, Array, Array]:
    """Codes that are not negative, the group of each column, and zeros of each group, and scales of it in BF16."""
    rows, columns = shape
    count = -(-columns // size)
    groups = np.arange(columns) // size
    if order:
        rng.shuffle(groups)
    codes = rng.integers(0, 1 << bits, shape)
    zeros = rng.integers(1, 1 << bits, (rows, count))
    return codes, groups.astype(np.int32), zeros, scales(rng, (rows, count), BF16)


def ct_packed(
    bits: int, size: int, *, zeros: bool = False, order: bool = False, columns: int = 384, rows: int = 264
) -> Make:
    def make(rng: np.random.Generator) -> Checkpoint:
        shape = (rows, columns)
        codes, groups, zero, scale = _groups(rng, shape, bits, size or columns, order)
        half = 1 << (bits - 1)
        zero = zero if zeros else np.full_like(zero, half)
        weights = {
            "num_bits": bits,
            "type": "int",
            "symmetric": not zeros,
            "strategy": "group",
            "group_size": size or None,
        }
        tensors = {
            f"{NAME}.weight_packed": words(codes, bits, 1),
            f"{NAME}.weight_scale": scale,
            f"{NAME}.weight_shape": np.array(shape, np.int64),
        }
        if zeros:
            tensors[f"{NAME}.weight_zero_point"] = words(zero, bits, 0)
        if order:
            tensors[f"{NAME}.weight_g_idx"] = groups
        exact = (codes - zero[:, groups]).astype(np.float32) * scale.astype(np.float32)[:, groups]
        return Checkpoint(tensors, {f"{NAME}.weight": exact}, ct(weights, "pack-quantized"))

    return make


def _ct_int8(size: int, *, zeros: bool = False) -> Make:
    def make(rng: np.random.Generator) -> Checkpoint:
        codes = rng.integers(-128, 128, (264, 384)).astype(np.int8)
        count = 384 // size if size else 1
        scale, zero = scales(rng, (264, count), BF16), rng.integers(-128, 128, (264, count)).astype(np.int8)
        tensors = {f"{NAME}.weight": codes, f"{NAME}.weight_scale": scale}
        if zeros:
            tensors[f"{NAME}.weight_zero_point"] = zero
        spread = np.arange(384) // (size or 384)
        less = zero.astype(int)[:, spread] if zeros else 0
        exact = (codes - less).astype(np.float32) * scale.astype(np.float32)[:, spread]
        weights = {"num_bits": 8, "type": "int", "symmetric": not zeros}
        return Checkpoint(tensors, {f"{NAME}.weight": exact}, ct(weights, "int-quantized"))

    return make


DIALECTS |= {
    "compressed-tensors W4A16": ct_packed(4, 128),
    "compressed-tensors W4A16 of groups of 32": ct_packed(4, 32),
    "compressed-tensors W4A16 of rows": ct_packed(4, 0),
    "compressed-tensors W4A16, a last word that is not full": ct_packed(4, 0, columns=389),
    "compressed-tensors W4A16, a last group that is short": ct_packed(4, 128, columns=456),
    "compressed-tensors W4A16 asymmetric": ct_packed(4, 128, zeros=True),
    "compressed-tensors W4A16, columns in order of activations": ct_packed(4, 128, zeros=True, order=True),
    "compressed-tensors W8A16 packed": ct_packed(8, 128),
    "compressed-tensors W8A16 packed, asymmetric": ct_packed(8, 64, zeros=True),
    "compressed-tensors W8A8": _ct_int8(0),
    "compressed-tensors W8A8 asymmetric": _ct_int8(0, zeros=True),
    "compressed-tensors W8A16 of groups": _ct_int8(128),
}


@dialect("AWQ")
def awq(rng: np.random.Generator, shape: tuple[int, int] = (264, 384)) -> Checkpoint:
    codes, groups, zeros, scale = _groups(rng, shape, 4, 128)
    order = [0, 2, 4, 6, 1, 3, 5, 7]  # of eight rows, from the lowest bits on

    def pack(values: Array) -> Array:
        return words(values.T.reshape(values.shape[1], -1, 8)[..., order].reshape(values.T.shape), 4, 1)

    half = scale.astype(np.float16)
    tensors = {f"{NAME}.qweight": pack(codes), f"{NAME}.qzeros": pack(zeros), f"{NAME}.scales": half.T}
    exact = (codes - zeros[:, groups]).astype(np.float32) * half.astype(np.float32)[:, groups]
    told = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
    return Checkpoint(tensors, {f"{NAME}.weight": exact}, told)


def gptq(
    bits: int,
    *,
    order: bool = False,
    form: str | None = None,
    beside: bool = False,
    shape: tuple[int, int] = (264, 384),
) -> Make:
    def make(rng: np.random.Generator) -> Checkpoint:
        codes, groups, zeros, scale = _groups(rng, shape, bits, 64, order)
        half = scale.astype(np.float16)
        tensors = {
            f"{NAME}.qweight": words(codes.T, bits, 0),
            f"{NAME}.qzeros": words(zeros.T - (0 if form == "gptq_v2" else 1), bits, 1),
            f"{NAME}.scales": half.T,
            f"{NAME}.g_idx": groups,
        }
        exact = (codes - zeros[:, groups]).astype(np.float32) * half.astype(np.float32)[:, groups]
        told = {"bits": bits, "group_size": 64, "desc_act": order, "sym": False}
        weights = {f"{NAME}.weight": exact}
        if beside:
            return Checkpoint(tensors, weights, files={"quantize_config.json": told})
        told |= {"quant_method": "gptq"} | ({"checkpoint_format": form} if form else {})
        return Checkpoint(tensors, weights, told)

    return make


DIALECTS |= {
    "GPTQ": gptq(4),
    "GPTQ, columns in order of activations": gptq(4, order=True),
    "GPTQ of 8 bits": gptq(8),
    "GPTQ v2": gptq(4, form="gptq_v2", order=True),
    "GPTQ, described in a file beside it": gptq(4, beside=True),
}


def halves(codes: Array) -> Array:
    """Two to a byte, the even column in the low half."""
    return (codes[..., ::2] | codes[..., 1::2] << 4).astype(np.uint8)


@dialect("SGLang's w4afp8")
def w4afp8(rng: np.random.Generator) -> Checkpoint:
    name = f"{EXPERTS}.1.down_proj.weight"
    codes, scale = rng.integers(-8, 8, (256, 512)), scales(rng, (256, 4))
    tensors = {name: halves(codes & 15).view(np.int8), f"{name}_scale_inv": scale}
    told = {"quant_method": "w4afp8", "weight_block_size": [128, 128]}
    return Checkpoint(tensors, {name: times(codes, scale, (1, 128))}, told)


@dialect("compressed-tensors MXFP4")
def ct_mxfp4(rng: np.random.Generator) -> Checkpoint:
    codes, scale = rng.integers(0, 16, (264, 384)), scales(rng, (264, 12), np.uint8)
    tensors = {f"{NAME}.weight_packed": halves(codes), f"{NAME}.weight_scale": scale}
    weights = {"num_bits": 4, "type": "float", "group_size": 32}
    return Checkpoint(
        tensors, {f"{NAME}.weight": times(FP4[codes], scale, (1, 32))}, ct(weights, "mxfp4-pack-quantized")
    )


@dialect("GPT-OSS' MXFP4")
def gpt_oss(rng: np.random.Generator, rows: int = 260, columns: int = 384) -> Checkpoint:
    """Models of this kind multiply from the other side: weights are [experts, columns, rows]."""
    codes, scale = rng.integers(0, 16, (3, rows, columns)), scales(rng, (3, rows, columns // 32), np.uint8)
    name = f"{EXPERTS}.gate_up_proj"
    tensors = {
        f"{name}_blocks": halves(codes).reshape(3, rows, -1, 16),
        f"{name}_scales": scale,
        f"{name}_bias": rng.standard_normal((3, rows)).astype(BF16),
    }
    exact = times(FP4[codes], scale, (1, 32)).transpose(0, 2, 1)
    bias = tensors[f"{name}_bias"].astype(np.float32)
    return Checkpoint(tensors, {name: exact, f"{name}_bias": bias}, {"quant_method": "mxfp4"})


@dialect("DeepSeek's FP4 experts beside FP8")
def fp4_experts(rng: np.random.Generator) -> Checkpoint:
    codes, scale = rng.integers(0, 16, (256, 384)), scales(rng, (256, 12), E8M0)
    expert, dense = "layers.0.ffn.experts.3.w2", "layers.0.attn.wq_a"
    eight, own = finite(rng, (256, 384)), scales(rng, (2, 3), E8M0)
    tensors = {
        f"{expert}.weight": halves(codes).view(np.int8),
        f"{expert}.scale": scale,
        f"{dense}.weight": eight,
        f"{dense}.scale": own,
    }
    exact = {
        f"{expert}.weight": times(FP4[codes], scale, (1, 32)),
        f"{dense}.weight": times(eight, own, (128, 128)),
    }
    return Checkpoint(tensors, exact, _block(128, 128, scale_fmt="ue8m0"), config={"expert_dtype": "fp4"})
