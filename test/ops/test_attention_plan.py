"""attention_plan on the CPU: word for word what plain Python makes, over random batches; and that all work is in it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import opswap
import pytest
from rooms import ROOT

sys.path.insert(0, str(ROOT / "kernels"))
from common.ref_attention_plan import HEADER, MOST_BINS, PLACE, attention_plan, units_of


def random_call(rng: np.random.Generator) -> dict[str, Any]:
    count, q_len = int(rng.integers(0, 40)), int(rng.integers(1, 9))
    heads, group = (int(n) for n in rng.choice([1, 2, 4, 8, 16], 2))
    longest = int(rng.choice([10, 300, 5000, 200_000]))
    lens = rng.integers(0, longest, count)
    tokens = np.full(count, q_len)
    if mixed := bool(rng.integers(2)):
        tokens = np.minimum(rng.integers(0, 20, count), lens)
    lens = np.where(lens < tokens, 0, lens)
    return {
        "seq_lens": lens.astype(np.int32),
        "query_start_loc": np.concatenate([[0], np.cumsum(tokens)]).astype(np.int32) if mixed else None,
        "num_heads": heads * group,
        "num_kv_heads": heads,
        "q_len": q_len,
        "sliding_window": int(rng.choice([-1, 1, 100, 4096])),
        "card": int(rng.integers(0, 4)),
        "batch_invariant": bool(rng.integers(2)),
    }


def words(call: dict[str, Any], impl: str) -> np.ndarray:
    plan = np.full(597 + len(call["seq_lens"]), -7, np.int32)
    opswap.call("attention_plan", plan, *call.values(), impl=impl)
    return plan


@pytest.mark.parametrize("seed", range(200))
def test_words_are_those_of_plain_python(seed: int) -> None:
    call = random_call(np.random.default_rng(seed))
    lens, starts, *how = call.values()
    expected = attention_plan(lens, starts, *how)
    for impl in ("ref", "cpu"):
        np.testing.assert_array_equal(words(call, impl), expected)


@pytest.mark.parametrize("seed", range(40))
def test_bins_hold_all_units_and_none_more_than_the_payload(seed: int) -> None:
    call = random_call(np.random.default_rng(1000 + seed))
    plan = words(call, "cpu")
    starts, lens = call["query_start_loc"], call["seq_lens"]
    tokens = np.full(len(lens), call["q_len"]) if starts is None else np.diff(starts)
    window = call["sliding_window"]
    units = [units_of(int(n), int(t), call["q_len"], window) for n, t in zip(lens, tokens, strict=True)]
    places = plan[HEADER : HEADER + PLACE * (MOST_BINS + 1)].reshape(-1, PLACE)[: plan[1] + 1, :2]
    assert places[0].tolist() == [0, 0] and places[-1].tolist() == [len(lens), 0]
    before = np.concatenate([[0], np.cumsum(units)]).astype(int)
    done = [before[sequence] + unit for sequence, unit in places.tolist()]
    assert (np.diff(done) >= 0).all() and done[-1] == sum(units)
    assert max(np.diff(done), default=0) <= plan[3]
    if call["batch_invariant"]:
        assert not places[:, 1].any(), "a sequence is cut"
