"""Calls that are cut to what an index names: a shadow and a recording of one, against the whole call by ref.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import opswap
import pytest
from rooms import Room, build, rooms
from test_recording import parse, record, replayed

ROOMS = {room.name: room for room in rooms()}
ROUNDS = range(24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def halves(rng: np.random.Generator, layout: int, blocks: int, heads: int, slots: int, width: int, dtype: Any) -> list:
    """Key and value cache [NB, KH, BS, D] in one of the layouts that engines have; values are all different bits."""
    shape, order = {
        0: ((blocks, 2, heads, slots, width), (1, 0, 2, 3, 4)),  # halves of each block, head by head
        1: ((2, blocks, slots, heads, width), (0, 1, 3, 2, 4)),  # one behind the other, token by token
        2: ((blocks, slots, heads, 2, width), (3, 0, 2, 1, 4)),  # interleaved in each row
        3: ((2, heads, blocks, slots, width), (0, 2, 1, 3, 4)),  # heads outside: blocks interleave, nothing to cut
        4: ((2, blocks, heads, slots, width + 3), (0, 1, 2, 3, 4)),  # rows with room between them
    }[layout]
    whole = rng.standard_normal(shape).astype(dtype)
    return [half[..., :width] for half in whole.transpose(order)]


def call_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    blocks, heads, slots, width = (int(n) for n in rng.integers((4, 1, 1, 1), (40, 4, 9, 20)))
    tokens = int(rng.integers(1, 9))
    dtype = rng.choice([np.float32, np.float16, ml_dtypes.bfloat16])
    keys, values = halves(rng, int(rng.integers(5)), blocks, heads, slots, width, dtype)
    near = rng.integers(0, blocks * slots, tokens) if rng.random() < 0.5 else np.arange(tokens) % (blocks * slots)
    mapping = near.astype(rng.choice([np.int32, np.int64]))
    mapping[rng.random(tokens) < 0.3] = -1
    mapping = mapping[: int(rng.integers(1, tokens + 1))]
    key, value = (rng.standard_normal((tokens, heads, width)).astype(dtype) for _ in range(2))
    doubles = {int(slot): t for t, slot in enumerate(mapping)}
    for t, slot in enumerate(mapping):  # two tokens of one slot have one value, so their order is nothing
        key[t], value[t] = key[doubles[int(slot)]], value[doubles[int(slot)]]
    return {"key": key, "value": value, "key_cache": keys, "value_cache": values, "slot_mapping": mapping}


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint8)


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_cut_call_does_what_the_whole_one_does_there(seed: int, folder: Path) -> None:
    call = call_of(np.random.default_rng(seed))
    blocks, slots = call["key_cache"].shape[0], call["key_cache"].shape[2]
    before = {name: array.copy() for name, array in call.items()}
    whole = ROOMS["reshape_and_cache"].module.ref(**before)
    opswap.shadow_start("reshape_and_cache", "ref", "cpu", share_of_calls=1.0, share_of_time=1.0)
    metadata, tensors = parse(record(folder, "reshape_and_cache", list(call.values())))
    opswap.shadow_stop("reshape_and_cache")
    again = replayed(metadata, tensors)
    opswap.call("reshape_and_cache", *again, impl="ref")
    cut = {a["name"]: a.get("entries") for a in json.loads(metadata["args"])}
    entries = cut["key_cache"] or list(range(blocks))
    named = sorted({int(slot) // slots for slot in before["slot_mapping"] if slot >= 0})
    assert entries in (named or [0], list(range(blocks))) and cut["value_cache"] == cut["key_cache"]
    for at, name in ((2, "key_cache"), (3, "value_cache")):
        np.testing.assert_array_equal(bits(tensors[name]), bits(before[name][entries]))
        np.testing.assert_array_equal(bits(again[at]), bits(whole[name][entries]))
        np.testing.assert_array_equal(bits(call[name]), bits(whole[name]))
    (sample,) = opswap.shadow_read("reshape_and_cache")
    assert (sample["control_status"], sample["candidate_status"]) == ("OPSWAP_OK", "OPSWAP_OK")
    assert not sample["candidate_overran"] and sample["differing"] == 0
    assert sample["elements"] == sum(call[name][entries].size for name in ("key_cache", "value_cache"))


def test_the_layouts_of_engines_are_cut_and_interleaved_blocks_are_not(folder: Path) -> None:
    kept = {}
    for layout in range(5):
        keys, values = halves(np.random.default_rng(layout), layout, 50, 2, 4, 8, np.float32)
        token = np.ones((1, 2, 8), np.float32)
        opswap.shadow_start("reshape_and_cache", "ref", "cpu", share_of_calls=1.0, share_of_time=1.0)
        opswap.call("reshape_and_cache", token, token, keys, values, np.array([77]))
        opswap.shadow_stop("reshape_and_cache")
        kept[layout] = opswap.shadow_read("reshape_and_cache")[0]["elements"] // keys[0].size // 2
    assert kept == {0: 1, 1: 1, 2: 1, 3: 50, 4: 1}


@pytest.mark.parametrize(
    ("name", "tensor", "sizes"),
    [
        ("select", "input", {"M": 3, "N": 500, "D": 40}),
        ("paged_attention", "key_cache", {"NB": 90}),
        ("qk_norm_rope_store_kv", "value_cache", {"NB": 90}),
        ("qk_norm_rope_store_kv_block_table", "key_cache", {"NB": 90}),
        ("reshape_and_cache_fp8", "k_scale_cache", {"NB": 90}),
        ("qk_norm_rope_store_kv_fp8", "v_scale_cache", {"NB": 90}),
    ],
)
def test_a_recording_holds_what_the_call_touches(name: str, tensor: str, sizes: dict[str, int], folder: Path) -> None:
    """Of each other op that has an index: less than the whole, and a replay gives what the call gave."""
    room: Room = ROOMS[name]
    case = next(c for c in room.spec["cases"] if all(v for k, v in c.items() if k.isupper())) | sizes
    live = build(room, case, room.type_choices()[0])
    metadata, tensors = parse(record(folder, name, list(live.values())))
    entry = next(a for a in json.loads(metadata["args"]) if a["name"] == tensor)
    assert 0 < len(entry["entries"]) == len(tensors[tensor]) <= live[tensor].shape[0] / 2
    again = dict(zip(live, replayed(metadata, tensors), strict=True))
    opswap.call(name, *again.values())
    cut = {a["name"]: a["entries"] for a in json.loads(metadata["args"]) if "entries" in a}
    for arg in room.args:
        if arg.get("writes") and live[arg["name"]] is not None:
            wanted = live[arg["name"]]
            wanted = wanted[cut[arg["name"]]] if arg["name"] in cut else wanted
            np.testing.assert_array_equal(bits(again[arg["name"]]), bits(wanted))
