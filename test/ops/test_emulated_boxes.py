"""Which keys and values of attention come as boxes of a tensor map, on the emulated library: all runs of 16 keys that
lie in one page and are all seen, and no others."""

from __future__ import annotations

import ctypes
import json
from typing import Any

import opswap
import pytest
from rooms import ROOT, Room, aligned, build
from test_emulated import SANITIZED, on_device

pytestmark = pytest.mark.skipif(SANITIZED is not None, reason="the cases of the rooms run under sanitizers")
NONE = ["k_scale", "v_scale", "k_scale_cache", "v_scale_cache", "sinks"]
BASE = {"QH": 2, "KH": 1, "D": 128, "V": 128, "BS": 16, "KS": 0}
PREFILL = BASE | {"lens": [[5, 300], [1, 1]], "none": [*NONE, "key_start_loc"]}
RAGGED = BASE | {"lens": [[5, 300], [1, 1]], "none": [*NONE, "block_table"], "ragged": True}
DECODE = BASE | {"lens": [[1, 300], [1, 1]], "none": [*NONE, "plan"]}
FP8, PRODUCTS = {"cache": "float8_e4m3fn"}, {"fp8_products": True}
#: 18 of the 300 keys' runs are whole, 16 keys of 128 features each, in 16 bits; and of their values as many.
RUNS, RUN = 18, 16 * 128 * 2


def boxed(room: str, case: dict[str, Any], types: dict[str, str]) -> int:
    """Bytes that tensor maps brought in a call of `room`."""
    launches = ctypes.CDLL("libopswap.so").opswap_emulator_launches
    launches.restype = ctypes.c_char_p
    types = {"scalar": "bfloat16", "cache": "bfloat16", "float": "float32", "table": "int32"} | types
    values = build(Room(ROOT / "kernels" / room), case, types)
    placed = [on_device(value) for value in values.values()]
    memory = aligned(opswap.workspace_size(room, *placed, impl="sm90"))
    launches(1)
    opswap.call(room, *placed, impl="sm90", workspace=on_device(memory))
    return sum(launch["counters"]["boxed_bytes"] for launch in json.loads(launches(1)))


@pytest.mark.parametrize("room", ["attention_prefill", "attention_decode", "paged_attention"])
@pytest.mark.parametrize(("size", "bytes_of_all"), [(16, RUNS * RUN * 2), (48, RUNS * RUN * 2), (8, 0), (40, 0)])
def test_runs_of_16_keys_come_boxed_from_pages_of_a_multiple_of_16(room: str, size: int, bytes_of_all: int) -> None:
    case = DECODE if room == "attention_decode" else PREFILL | {"none": [*NONE, "key_start_loc", "plan"]}
    assert boxed(room, case | {"BS": size}, {}) == bytes_of_all


@pytest.mark.parametrize("features", [96, 128, 192, 256])
def test_a_box_has_64_features_of_16_bits(features: int) -> None:
    found = boxed("attention_prefill", PREFILL | {"D": features, "V": min(features, 128)}, {})
    keys, values = {96: (128, 128), 128: (128, 128), 192: (192, 128), 256: (256, 256)}[features]
    assert found == RUNS * 16 * 2 * (keys + values)


def test_keys_behind_a_window_come_in_no_box() -> None:
    # Rows see from key 195 on: runs from 208 on, 5 whole ones of the 6 up to 288.
    found = boxed("attention_prefill", PREFILL | {"sliding_window": 101}, {})
    assert found == 5 * RUN * 2


@pytest.mark.parametrize(("size", "heads", "bytes_of_all"), [(1, 1, 2), (7, 1, 2), (7, 2, 0), (400, 2, 4), (1, 2, 4)])
def test_slots_that_follow_one_another_are_one_page(size: int, heads: int, bytes_of_all: int) -> None:
    """So those of a head do in pages of one head, in one page, and in pages of one slot."""
    found = boxed("attention_prefill", RAGGED | {"BS": size, "KH": heads}, {})
    assert found == RUNS * RUN * bytes_of_all


def test_codes_that_become_numbers_come_as_bytes() -> None:
    assert boxed("attention_prefill", PREFILL, FP8) == boxed("attention_decode", DECODE, FP8) == RUNS * RUN


def test_of_codes_that_are_multiplied_keys_come_boxed() -> None:
    assert boxed("attention_prefill", PREFILL | PRODUCTS, FP8) == RUNS * RUN // 2


def test_interleaved_keys_in_front_of_a_window_come_in_no_box() -> None:
    """Rows see from key 200 on, in the middle of a run, behind which there are 5 whole ones."""
    how = PRODUCTS | {"interleaved_values": True, "sliding_window": 96}
    assert boxed("attention_prefill", PREFILL | how, FP8) == 5 * RUN // 2
