"""Tokens of a cache of latents, read back by the words of docs/layouts.md: bytes, steps of codes, rotated angles."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import opswap
import pytest

LATENTS, ROPE, WIDTH = 512, 64, 656
BF16 = ml_dtypes.bfloat16


class Call:
    """Random tokens into blocks that lie apart, with slots that are skipped and tokens without one."""

    def __init__(self, seed: int, block_size: int, tokens: int, neox: bool) -> None:
        rng = np.random.default_rng(seed)
        self.blocks = 2 + tokens // block_size
        self.rows = (rng.standard_normal((tokens, LATENTS + ROPE)) * 2.0 ** rng.integers(-20, 20, (tokens, 1))).astype(
            BF16
        )
        self.positions = rng.integers(0, 50, tokens)
        angles = rng.uniform(0, 7, (50, ROPE // 2))
        self.angles, self.neox = np.concatenate([np.cos(angles), np.sin(angles)], 1).astype(np.float32), neox
        stored = max(tokens - int(rng.integers(0, 2)), 0)
        self.slots = rng.permutation(self.blocks * block_size)[:stored]
        self.slots[rng.random(stored) < 0.3] = -1
        self.memory = rng.integers(0, 256, (self.blocks, block_size + 1, WIDTH), np.uint8)
        self.before = self.memory.copy()
        self.cache = self.memory[:, :block_size]

    def run(self, **more: object) -> None:
        latents, key = self.rows[:, :LATENTS], self.rows[:, LATENTS:]
        rest = more.get("floor", 0.0), more.get("power_of_two", False), self.neox
        args = self.cache, latents, key, self.positions, self.angles, self.slots, None, None, None, *rest
        opswap.call("concat_and_cache_mla_quant_fp8", *args)

    def read(self, slot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Codes as numbers, scales and key part of a slot."""
        token = self.cache[slot // self.cache.shape[1], slot % self.cache.shape[1]].tobytes()
        codes = np.frombuffer(token[:512], ml_dtypes.float8_e4m3fn).astype(np.float64)
        return codes, np.frombuffer(token[512:528], "<f4"), np.frombuffer(token[528:], BF16).astype(np.float64)

    def turned(self, t: int) -> np.ndarray:
        """The key part as a complex product, pair by pair."""
        key = self.rows[t, LATENTS:].astype(np.float64)
        pairs = key.reshape(2, -1) if self.neox else key.reshape(-1, 2).T
        by = self.angles[self.positions[t]].astype(np.float64).reshape(2, -1)
        out = (pairs[0] + 1j * pairs[1]) * (by[0] + 1j * by[1])
        return np.concatenate([out.real, out.imag]) if self.neox else np.stack([out.real, out.imag], 1).ravel()


@pytest.mark.parametrize("neox", [False, True])
@pytest.mark.parametrize(("block_size", "tokens"), [(1, 5), (16, 20), (64, 33), (64, 0)])
@pytest.mark.parametrize("power_of_two", [False, True])
def test_a_token_reads_back(block_size: int, tokens: int, neox: bool, power_of_two: bool) -> None:
    for seed in range(5):
        call = Call(seed, block_size, tokens, neox)
        call.run(power_of_two=power_of_two)
        for t, slot in enumerate(call.slots):
            if slot < 0:
                continue
            codes, scales, key = call.read(slot)
            wanted = call.rows[t, :LATENTS].astype(np.float64)
            each = np.repeat(scales.astype(np.float64), 128)
            step = np.maximum(2.0 ** (np.floor(np.log2(np.maximum(np.abs(codes), 2.0**-6))) - 3), 2.0**-9)
            assert (np.abs(codes * each - wanted) <= step * each * (0.5 + 2.0**-20)).all()
            largest = np.abs(codes.reshape(4, 128)).max(1)
            assert ((largest > 216) if power_of_two else (largest == 448)).all()
            assert not power_of_two or (np.log2(scales) % 1 == 0).all()
            bound = np.abs(call.rows[t, LATENTS:].astype(np.float64)).max() * 2.0**-22
            assert (np.abs(key - call.turned(t)) <= np.abs(key) * 2.0**-8 + bound).all()


def test_nothing_is_written_beside_tokens() -> None:
    call = Call(1, 16, 40, False)
    call.run()
    written = np.zeros(call.memory.shape[:2], bool)
    for slot in call.slots[call.slots >= 0]:
        written[slot // 16, slot % 16] = True
    assert 0 < written.sum() < written.size
    assert (call.memory[~written] == call.before[~written]).all()


@pytest.mark.parametrize(("floor", "power_of_two", "scale"), [(0.0, False, 2.0**-126), (0.0448, True, 2.0**-13)])
def test_a_group_of_zeros_has_the_scale_that_its_readers_write(floor: float, power_of_two: bool, scale: float) -> None:
    call = Call(2, 16, 3, False)
    call.slots = np.arange(3)
    call.rows[1, 128:256] = 0
    call.run(floor=floor, power_of_two=power_of_two)
    codes, scales, _ = call.read(1)
    assert scales[1] == scale and (codes[128:256] == 0).all() and (scales[[0, 2, 3]] != scale).all()


def test_queries_and_their_result_are_given_together() -> None:
    call = Call(3, 16, 3, False)
    latents, key = call.rows[:, :LATENTS], call.rows[:, LATENTS:]
    query = np.zeros((3, 2, ROPE), BF16)
    for out, given in ((query, None), (None, query)):
        args = call.cache, latents, key, call.positions, call.angles, call.slots, out, None, given, 0.0, False, False
        with pytest.raises(opswap.OpswapError, match="needs QO == QH"):
            opswap.call("concat_and_cache_mla_quant_fp8", *args)
