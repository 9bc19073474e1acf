"""Refusals of attention beyond every op's (test_refusals.py): options that go together, lengths, offsets, plans."""

from __future__ import annotations

from typing import Any

import numpy as np
import opswap
import pytest
from rooms import Room, build, rooms
from test_refusals import arguments, ids, refusal

NAMES = ("attention_decode", "attention_prefill", "paged_attention", "cascade_attention")
ALL = [room for room in rooms() if room.name in NAMES]
MIXED = [room for room in ALL if room.name != "attention_decode"]
PLANNED = [room for room in ALL if room.name != "attention_prefill"]
PAIRS = [("k_scale", "v_scale"), ("k_scale_cache", "v_scale_cache"), ("v_scale_cache", "k_scale_cache")]


@pytest.fixture
def decode() -> Room:
    return next(room for room in ALL if room.name == "attention_decode")


@pytest.fixture
def prefill() -> Room:
    return next(room for room in ALL if room.name == "attention_prefill")


@pytest.fixture
def paged() -> Room:
    return next(room for room in ALL if room.name == "paged_attention")


def ragged(prefill: Room) -> dict[str, Any]:
    case = next(c for c in prefill.spec["cases"] if c.get("ragged"))
    return build(prefill, case, prefill.type_choices()[0])


def refused(room: Room, values: dict[str, Any], code: str, *told: str) -> None:
    error = refusal(room, values)
    assert error.code == code
    for text in told:
        assert text in error.message, error.message


@pytest.mark.parametrize("room", ALL, ids=ids)
@pytest.mark.parametrize(("given", "absent"), PAIRS)
def test_a_scale_without_its_other(room: Room, given: str, absent: str) -> None:
    refused(room, arguments(room) | {absent: None}, "OPSWAP_E_ARGUMENT", f"{given} is given without {absent}")


@pytest.mark.parametrize("room", ALL, ids=ids)
def test_scales_of_values_alone(room: Room) -> None:
    """k_scale says how many there are."""
    refused(room, arguments(room) | {"k_scale": None}, "OPSWAP_E_SHAPE", "v_scale.shape[0] is 2, needs KS = 0")


@pytest.mark.parametrize("room", ALL, ids=ids)
def test_scales_of_no_head(room: Room) -> None:
    none = np.zeros(0, np.float32)
    refused(room, arguments(room) | {"k_scale": none, "v_scale": none.copy()}, "OPSWAP_E_SHAPE", "k_scale is [0]")


@pytest.mark.parametrize("room", ALL, ids=ids)
@pytest.mark.parametrize(("name", "shape"), [("k_scale", (3,)), ("sinks", (3,)), ("k_scale_cache", (1, 2, 16, 1))])
def test_options_of_another_shape(room: Room, name: str, shape: tuple[int, ...]) -> None:
    error = refusal(room, arguments(room) | {name: np.zeros(shape, np.float32)})
    assert error.code in {"OPSWAP_E_SHAPE", "OPSWAP_E_ARGUMENT"}
    assert name in error.message or "KS" in error.message


@pytest.mark.parametrize("room", ALL, ids=ids)
def test_a_cache_of_another_16_bits_than_the_query(room: Room) -> None:
    values = arguments(room)
    for name in ("key_cache", "value_cache"):
        values[name] = values[name].astype(np.float16)
    refused(room, values, "OPSWAP_E_DTYPE", "key_cache")


def test_keys_in_both_places_or_neither(prefill: Room) -> None:
    values = ragged(prefill)
    table = np.zeros((len(values["seq_lens"]), 4), np.int32)
    refused(prefill, values | {"block_table": table}, "OPSWAP_E_ARGUMENT", "both of block_table and key_start_loc")
    refused(prefill, values | {"key_start_loc": None}, "OPSWAP_E_ARGUMENT", "neither of block_table and key_start_loc")


@pytest.mark.parametrize("name", ["block_table", "key_start_loc"])
def test_no_entries_for_sequences(prefill: Room, name: str) -> None:
    values = ragged(prefill) if name == "key_start_loc" else arguments(prefill)
    refused(prefill, values | {name: values[name][:0]}, "OPSWAP_E_SHAPE", f"{name} has 0 entries")


@pytest.mark.parametrize(
    ("at", "wrong", "told"),
    [(1, -1, "key_start_loc[0..1]"), (2, 1, "key_start_loc[1..2]"), (-1, 10_000, "10000"), (1, 3, "seq_lens[0] is 5")],
)
def test_offsets_of_keys(prefill: Room, at: int, wrong: int, told: str) -> None:
    values = ragged(prefill)
    values["key_start_loc"][at] = wrong
    refused(prefill, values, "OPSWAP_E_VALUE", "key_start_loc", told)


@pytest.mark.parametrize("room", ALL, ids=ids)
@pytest.mark.parametrize("wrong", [-1, 100_000])
def test_a_length_beyond_the_table(room: Room, wrong: int) -> None:
    values = arguments(room)
    values["seq_lens"][1] = wrong
    refused(room, values, "OPSWAP_E_VALUE", f"seq_lens[1] is {wrong}")


@pytest.mark.parametrize("room", ALL, ids=ids)
def test_more_rows_than_tokens(room: Room) -> None:
    values = arguments(room)
    values["seq_lens"][1] = 1
    refused(room, values, "OPSWAP_E_VALUE", "sequence 1 has", "seq_lens[1] is 1")


@pytest.mark.parametrize("room", MIXED, ids=ids)
@pytest.mark.parametrize(("at", "wrong"), [(0, -1), (1, 1000), (2, 1)])
def test_offsets_of_rows(room: Room, at: int, wrong: int) -> None:
    values = arguments(room)
    values["query_start_loc"][at] = wrong
    refused(room, values, "OPSWAP_E_VALUE", "query_start_loc[", str(wrong))


@pytest.mark.parametrize("q_len", [0, 9, 3])
def test_rows_of_another_q_len(decode: Room, q_len: int) -> None:
    refused(decode, arguments(decode) | {"q_len": q_len}, "OPSWAP_E_ARGUMENT", f"q_len is {q_len}")


def test_a_max_query_len_that_is_exceeded(paged: Room) -> None:
    refused(paged, arguments(paged) | {"max_query_len": 5}, "OPSWAP_E_VALUE", "max_query_len is 5", "33 query rows")


@pytest.mark.parametrize("room", PLANNED, ids=ids)
@pytest.mark.parametrize(
    ("word", "told"),
    [
        (0, "version"),
        (1, "a card that is not known"),
        (2, "number of sequences"),
        (5, "other heads"),
        (6, "other heads"),
        (7, "q_len"),
        (8, "sliding_window"),
        (9, "a card that is not known"),
        (12, "query_start_loc"),
    ],
)
def test_a_plan_of_another_call(room: Room, word: int, told: str) -> None:
    values = arguments(room)
    values["plan"][word] += 1 if word == 12 and not values["plan"][word] else -1 if word == 12 else 1000
    refused(room, values, "OPSWAP_E_PLAN", told, "attention_plan")


@pytest.mark.parametrize("room", PLANNED, ids=ids)
def test_a_plan_that_does_not_fit(room: Room) -> None:
    values = arguments(room)
    refused(room, values | {"plan": values["plan"][:-1].copy()}, "OPSWAP_E_PLAN", "the plan has 598 words, needs 599")
    refused(room, values | {"batch_invariant": True}, "OPSWAP_E_PLAN", "is not batch_invariant")


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("prefix_len", 10_000, "prefix_len is 10000"),
        ("prefix_block_table", -1, "prefix_block_table[0][0] is -1"),
        ("prefix_block_table", 2147480000, "prefix_block_table[0][0] is 2147480000"),
    ],
)
def test_a_prefix_outside_its_table_or_the_cache(name: str, wrong: int, told: str) -> None:
    room = next(room for room in ALL if room.name == "cascade_attention")
    values = arguments(room)
    if name == "prefix_len":
        values[name] = wrong
    else:
        values[name][0, 0] = wrong
    refused(room, values, "OPSWAP_E_VALUE", told)


def test_a_plan_of_bad_lengths() -> None:
    lens, plan = np.array([5, -1], np.int32), np.zeros(599, np.int32)
    how = (8, 2, 2, -1, 2, False)
    for bad, starts, told in (
        (lens, None, "seq_lens[1] is -1"),
        (abs(lens), None, "sequence 1 has 2 new tokens"),
        (abs(lens), np.array([0, 2, 1], np.int32), "query_start_loc[1..2]"),
    ):
        with pytest.raises(opswap.OpswapError) as caught:
            opswap.call("attention_plan", plan, bad, starts, *how)
        assert caught.value.code == "OPSWAP_E_VALUE" and told in caught.value.message
        assert not plan.any(), "a refused call wrote something"
