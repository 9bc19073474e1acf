"""FP8 caches as engines lay them out: scales of tokens in the rows of the cache; scales over codes are refused."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import opswap
import pytest

E4M3 = np.dtype(ml_dtypes.float8_e4m3fn)
BLOCKS, HEADS, SLOTS, WIDTH = 3, 2, 4, 16


def rows(token_major: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """A buffer of [K | scale | V | scale] for each head of each slot, and its four views [NB, KH, BS, n]."""
    half = WIDTH + 4
    shape = (BLOCKS, SLOTS, HEADS, 2 * half) if token_major else (BLOCKS, HEADS, SLOTS, 2 * half)
    buffer = np.full(shape, 0x5A, np.uint8)
    cache = buffer.transpose(0, 2, 1, 3) if token_major else buffer
    views = []
    for start in (0, half):
        views += [
            cache[..., start : start + WIDTH].view(E4M3),
            cache[..., start + WIDTH : start + half].view(np.float32),
        ]
    return buffer, views


@pytest.mark.parametrize("token_major", [False, True])
@pytest.mark.parametrize("impl", ["ref", "cpu"])
def test_scales_may_lie_in_the_rows_of_the_cache(impl: str, token_major: bool) -> None:
    rng = np.random.default_rng(0)
    key, value = (rng.standard_normal((3, HEADS, WIDTH)).astype(np.float32) for _ in range(2))
    slots = np.array([9, -1, 2])
    buffer, (keys, key_scales, values, value_scales) = rows(token_major)
    opswap.call(
        "reshape_and_cache_fp8", key, value, keys, values, slots, None, None, key_scales, value_scales, impl=impl
    )
    touched = np.zeros(buffer.shape, bool)
    for t, slot in ((0, 9), (2, 2)):
        block, at = divmod(slot, SLOTS)
        touched[(block, at) if token_major else (block, slice(None), at)] = True
        for x, codes, scales in ((key[t], keys, key_scales), (value[t], values, value_scales)):
            scale = np.maximum(np.abs(x).max(1), np.float32(1e-4)) / np.float32(448)
            np.testing.assert_array_equal(scales[block, :, at, 0], scale)
            np.testing.assert_array_equal(codes[block, :, at], (x / scale[:, None]).astype(E4M3))
    assert (buffer[~touched] == 0x5A).all()


def test_scales_over_codes_are_refused() -> None:
    buffer, (keys, _, values, value_scales) = rows(False)
    over = buffer[..., 4:8].view(np.float32)
    key = np.ones((1, HEADS, WIDTH), np.float32)
    with pytest.raises(opswap.OpswapError, match="key_cache is written, but shares memory") as caught:
        opswap.call("reshape_and_cache_fp8", key, key, keys, values, np.array([0]), None, None, over, value_scales)
    assert caught.value.code == "OPSWAP_E_OVERLAP"
    assert (buffer == 0x5A).all()
