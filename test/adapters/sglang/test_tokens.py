"""Tokens of a cache of latents beside those of SGLang's own reference, which its sparse attention reads."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import opswap
import torch
from sglang.test.kernels.dsa_k_cache_reference import _quantize_k_cache_ref

TOKENS, LATENTS, ROPE = 200, 512, 64


def test_codes_scales_and_key_part_lie_where_sglang_has_them() -> None:
    """Its reference takes a scale in the input's dtype, so it is given float32; its key part is float32 then."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((TOKENS, LATENTS + ROPE)) * 2.0 ** rng.integers(-10, 10, (TOKENS, 1))
    rows = rows.astype(ml_dtypes.bfloat16)
    theirs = _quantize_k_cache_ref(torch.from_numpy(rows.astype(np.float32)).view(TOKENS, 1, 1, -1))
    theirs = theirs.view(torch.uint8).view(TOKENS, -1).numpy()
    ours = np.zeros((1, TOKENS, 656), np.uint8)
    still = np.repeat([[1, 0]], ROPE // 2, 1).astype(np.float32)  # cosines, then sines: nothing turns
    rest = np.zeros(TOKENS, np.int64), still, np.arange(TOKENS), None, None, None, 0.0, False, False
    opswap.call("concat_and_cache_mla_quant_fp8", ours, rows[:, :LATENTS], rows[:, LATENTS:], *rest)
    assert (ours[0, :, :528] == theirs[:, :528]).all()
    key = np.ascontiguousarray(theirs[:, 528:]).view(np.float32).astype(ml_dtypes.bfloat16)
    assert (np.ascontiguousarray(ours[0, :, 528:]).view(ml_dtypes.bfloat16) == key).all()
