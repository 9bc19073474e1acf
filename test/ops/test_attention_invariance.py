"""`batch_invariant` of attention on the CPU: a sequence's rows have the same bits alone, in another place, in another
batch and on another number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import opswap
import pytest
from rooms import Room, build, rooms
from test_batch_invariance import bits, caller, usable

#: Lengths and new tokens of the sequences of a batch; windows and parts of 256 keys begin and end within them.
MIXED = [[1, 700], [33, 70], [1, 3], [5, 5], [130, 300], [4, 1000], [1, 0], [2, 257]]
SHAPES: dict[str, list[dict[str, Any]]] = {
    "attention_decode": [{"q_len": 1}, {"q_len": 3}, {"q_len": 1, "sliding_window": 100}, {"q_len": 1, "QH": 40}],
    "attention_prefill": [{}, {"sliding_window": 50}, {"causal": False}],
    "paged_attention": [{}, {"sliding_window": 50}],
    "cascade_attention": [{"prefix_len": 300}],
}


def attention() -> list[Room]:
    return [room for room in rooms() if room.name in SHAPES]


def batch(room: Room, shape: dict[str, Any], types: dict[str, str]) -> dict[str, Any]:
    """A large batch with scales and sinks, of which every smaller one is cut."""
    q_len = shape.get("q_len")
    lens = [[q_len, max(n, q_len) if n else 0] for _, n in MIXED] if q_len else MIXED
    absent = ["k_scale", "v_scale", "plan", "key_start_loc"]
    case = {"lens": lens, "QH": 4, "KH": 2, "D": 64, "V": 64, "BS": 16, "KS": 0, "batch_invariant": True}
    return build(room, case | shape | {"none": [a["name"] for a in room.args if a["name"] in absent]}, types)


def rows_of(values: dict[str, Any], b: int) -> np.ndarray:
    if "query_start_loc" in values:
        return np.arange(*values["query_start_loc"][b : b + 2])
    return np.arange(values["q_len"]) + b * values["q_len"]


def cut(values: dict[str, Any], sequences: list[int]) -> tuple[dict[str, Any], np.ndarray]:
    """The same call with these sequences, and which rows they had."""
    rows = np.concatenate([rows_of(values, b) for b in sequences])
    made = dict(values)
    for name in ("out", "lse", "query"):
        made[name] = np.ascontiguousarray(values[name][rows])
    for name in ("block_table", "seq_lens"):
        made[name] = np.ascontiguousarray(values[name][sequences])
    if "query_start_loc" in values:
        counts = [len(rows_of(values, b)) for b in sequences]
        made["query_start_loc"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return made, rows


def batches(count: int) -> Iterator[list[int]]:
    """Each sequence alone, all in another order, some, and all many times."""
    yield from ([b] for b in range(count))
    yield list(range(count))[::-1]
    yield list(range(count))[1::2]
    yield list(np.resize(np.arange(count), 5 * count))


def promising() -> list:
    return [
        pytest.param(room, shape, types, id=f"{room.name}[{number}|{'-'.join(types.values())}]")
        for room in attention()
        for number, shape in enumerate(SHAPES[room.name])
        for types in room.type_choices()
    ]


@pytest.fixture
def threads() -> Iterator[None]:
    before = opswap.get_threads()
    yield
    opswap.set_threads(before)


def impls(room: Room) -> list[str]:
    return usable(room.name) or ["composed"]


@pytest.mark.parametrize(("room", "shape", "types"), promising())
def test_a_sequence_has_the_same_bits_in_every_batch(
    room: Room, shape: dict[str, Any], types: dict[str, str], threads: None
) -> None:
    values = batch(room, shape, types)
    for impl in impls(room):
        run = caller(impl)
        opswap.set_threads(2)
        whole = run(room, values)
        opswap.set_threads(1)
        for sequences in batches(len(MIXED)):
            made, rows = cut(values, sequences)
            np.testing.assert_array_equal(bits(run(room, made)), bits(whole)[rows], f"{impl}, sequences {sequences}")


def test_every_room_of_attention_that_takes_the_argument_is_tried() -> None:
    takes = {r.name for r in rooms() if {"batch_invariant", "softmax_scale"} <= {a["name"] for a in r.args}}
    assert takes <= set(SHAPES)


def test_without_it_a_long_sequence_has_other_bits_beside_others() -> None:
    """The comparison can fail: without the argument parts of a long sequence are longer in a larger batch."""
    room = next(room for room in attention() if room.name == "attention_decode")
    types = room.type_choices()[0]
    case = {"lens": [[1, 2000]] * 32, "QH": 4, "KH": 2, "D": 64, "V": 64, "BS": 16, "KS": 0}
    options = ["k_scale", "v_scale", "k_scale_cache", "v_scale_cache", "sinks", "plan"]
    values = build(room, {**case, "none": options}, types)
    made, rows = cut(values, [5])
    run = caller("cpu")
    assert (bits(run(room, made)) != bits(run(room, values))[rows]).any()
