"""`batch_invariant` of every op that has it, on the CPU: a row of out has the same bits alone, in another place and in
another batch. On the emulated kernels: test_emulated_batch_invariance.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import opswap
import pytest
from rooms import Room, aligned, build, on_host, rooms

#: Rows of the largest batch: beyond the tiles of 8, 64 and 128 rows between which implementations change.
MOST = 150
#: Arguments that are the same for all rows.
OF_ALL = re.compile(r"(weight|bias|expert_first_row)")
Run = Callable[[Room, dict[str, Any]], np.ndarray]


def products() -> list[Room]:
    """Rooms that take the argument, but for plans, whose words are no rows and products do what they say, and for
    attention, whose batch is of sequences: test_attention_invariance.py."""
    takes = [room for room in rooms() if any(a["name"] == "batch_invariant" for a in room.args)]
    return [
        room
        for room in takes
        if room.args[0]["dtype"] not in ("index", "table") and all(a["name"] != "seq_lens" for a in room.args)
    ]


def promising() -> list:
    """Of each product that takes the argument the cases that give it, in each combination of dtypes."""
    return [
        pytest.param(room, case, types, id=f"{room.name}[{number}|{'-'.join(types.values())}]")
        for room in products()
        for number, case in enumerate(room.spec["cases"])
        for types in room.type_choices()
        if case.get("batch_invariant")
    ]


def cut(values: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """The same call with these rows of its batch: what has an entry for each row has it along some dimension, unless
    it belongs to the weights. Where rows are ordered by group, they are given in that order."""
    out = next(iter(values.values()))
    first = values.get("expert_first_row")
    made = {
        name: take(value, rows, len(out)) if isinstance(value, np.ndarray) and not OF_ALL.match(name) else value
        for name, value in values.items()
    }
    if first is not None:
        groups = np.searchsorted(first[1:], rows, side="right")
        made["expert_first_row"] = np.searchsorted(groups, np.arange(len(first))).astype(first.dtype)
    return made


def take(value: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    for axis in [i for i, n in enumerate(value.shape) if n == count]:
        value = np.ascontiguousarray(np.take(value, rows, axis))
    return value


def batches(values: dict[str, Any]) -> list[np.ndarray]:
    """Rows alone, the last ones as a batch of few, every second one, and all again and again."""
    rows = np.arange(len(next(iter(values.values()))))
    if values.get("expert_first_row") is not None:
        first = values["expert_first_row"]
        rows = rows[(rows >= first[0]) & (rows < first[-1])]
    again = np.sort(np.resize(rows, MOST)) if values.get("expert_first_row") is not None else np.resize(rows, MOST)
    return [rows[:1], rows[len(rows) // 2 :][:1], rows[-5:], rows[1::2], again[:70], again]


def assert_rows_keep_their_bits(room: Room, case: dict, types: dict[str, str], run: Run) -> None:
    values = build(room, case, types)
    whole = run(room, values)
    for rows in batches(values):
        if not len(rows):
            continue
        part = run(room, cut(values, rows))
        same = (bits(part) == bits(whole)[rows]).all(axis=1)
        assert same.all(), f"{(~same).sum()} of {len(rows)} rows have other bits than in the batch of {len(whole)}"


def bits(out: np.ndarray) -> np.ndarray:
    return out.view(f"u{out.itemsize}")


def caller(impl: str, place: Callable[[Any, str], Any] = on_host) -> Run:
    def run(room: Room, values: dict[str, Any]) -> np.ndarray:
        out = np.full_like(next(iter(values.values())), np.nan)
        args = [out, *list(values.values())[1:]]
        args = [place(value, a["name"]) for value, a in zip(args, room.args, strict=True)]
        how = {"impl": impl}
        memory = aligned(opswap.workspace_size(room.name, *args, **how))
        opswap.call(room.name, *args, **how, workspace=place(memory, "workspace") if memory.size else None)
        return out

    return run


def usable(op: str) -> list[str]:
    """Every instruction set's implementation of this machine."""
    return [i["name"] for i in opswap.why(op)["impls"] if i["name"].startswith("cpu")]


def test_the_products_take_the_argument() -> None:
    takes = {room.name for room in products()}
    assert takes >= {"linear", "gemm_fp8_block128"}
    assert takes == {param.values[0].name for param in promising()}, "each has a case that gives it"


@pytest.mark.parametrize(("room", "case", "types"), promising())
def test_a_row_has_the_same_bits_in_every_batch(room: Room, case: dict, types: dict[str, str]) -> None:
    for impl in usable(room.name):
        assert_rows_keep_their_bits(room, case, types, caller(impl))


def test_other_bits_of_one_row_are_found() -> None:
    room = next(room for room in rooms() if room.name == "linear")
    case = {"M": 20, "N": 8, "K": 16, "batch_invariant": True}

    def wrong(of: Room, values: dict[str, Any]) -> np.ndarray:
        out = caller("ref")(of, values)
        bits(out)[:, 0] += len(out) == MOST
        return out

    with pytest.raises(AssertionError, match="150 of 150 rows have other bits than in the batch of 20"):
        assert_rows_keep_their_bits(room, case, room.type_choices()[0], wrong)
