"""Each token as FP8 latents, their scales and the rotated key part in BF16, byte by byte, in numpy."""

import ml_dtypes
import numpy as np
from common import ref_mla

LEAST = np.float32(2.0**-126)


def rounded_up(scale):
    """To a power of two."""
    half, exponent = np.frexp(scale)
    return np.where(np.isfinite(scale), np.ldexp(np.float32(1), exponent - (half == 0.5)), scale)


def one_nan(x, bits):
    """The bytes of x, where every NaN has the same bits."""
    x[np.isnan(x)] = np.array(bits, f"u{x.itemsize}").view(x.dtype)
    return np.ascontiguousarray(x).view(np.uint8).reshape(len(x), x[0].nbytes if len(x) else 0)


def ref(**a):
    t, c = a["kv_c"].shape
    x = a["kv_c"].astype(np.float32).reshape(t, c // 128, 128)
    with np.errstate(all="ignore"):
        scale = np.maximum(np.abs(x).max(-1, keepdims=True, initial=0), np.float32(a["floor"])) / np.float32(448)
        scale = np.maximum(scale, LEAST)
        scale = rounded_up(scale).astype(np.float32) if a["power_of_two"] else scale
        codes = np.clip(x / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn)
        key = ref_mla.rope(a["k_pe"], a).astype(ml_dtypes.bfloat16)
    parts = [one_nan(codes, 0x7F), one_nan(scale, 0x7FFFFFFF), one_nan(key, 0x7FFF)]
    return ref_mla.run(a, np.concatenate(parts, axis=1))


def inputs(case, rng, make):
    return ref_mla.inputs(case, rng, make())
