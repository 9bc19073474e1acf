"""Bad arguments: each is refused with a code and a sentence that names op and argument, before anything is written."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import opswap
import pytest
from rooms import Room, build, rooms

#: Rooms of groups are called with some of their tensors, and have refusals of their own: test_grouped_refusals.py.
ROOMS = [room for room in rooms() if not {"expert_first_row", "masked_m"} <= {a["name"] for a in room.args}]
#: Given instead of another tensor, not beside it; refused in test_attention_refusals.py.
INSTEAD = {"key_start_loc"}
TENSOR_ARGS = [
    (room, a["name"]) for room in ROOMS for a in room.args if a["kind"] == "tensor" and a["name"] not in INSTEAD
]
#: A last dimension of one element has no gap.
SPREAD = [
    (room, name) for room, name in TENSOR_ARGS if next(a for a in room.args if a["name"] == name)["shape"][-1] != "1"
]
WRITTEN = [(room, a["name"]) for room in ROOMS for a in room.args if a.get("writes")]
WRITTEN_ROWS = [
    (room, name) for room, name in WRITTEN if len(next(a for a in room.args if a["name"] == name)["shape"]) > 1
]


def plain_case(room: Room) -> dict:
    """A case with every dim above 1 and every tensor given."""
    cases = [c for c in room.spec["cases"] if set(c.get("none", ())) <= INSTEAD and "fused" not in c]
    return next(c for c in cases if min([v for k, v in c.items() if k.isupper()] or [2]) > 1 and c.get("lens", True))


def arguments(room: Room) -> dict[str, Any]:
    """With every tensor given, which in some rooms depends on the types."""
    tensors = [a["name"] for a in room.args if a["kind"] == "tensor" and a["name"] not in INSTEAD]
    choices = (build(room, plain_case(room), types) for types in room.type_choices())
    return next(values for values in choices if all(values[name] is not None for name in tensors))


def refusal(room: Room, values: dict[str, Any]) -> opswap.OpswapError:
    """The error of a call, after checking that no written argument changed."""
    written = {a["name"]: values[a["name"]] for a in room.args if a.get("writes") and values[a["name"]] is not None}
    before = {k: v.tobytes() for k, v in written.items() if isinstance(v, np.ndarray)}
    with pytest.raises(opswap.OpswapError) as caught:
        opswap.call(room.name, *values.values())
    assert all(written[k].tobytes() == b for k, b in before.items()), "a refused call wrote something"
    assert caught.value.message.startswith(f"{room.name}: ")
    return caught.value


def ids(pair: Any) -> str:
    return pair.name if isinstance(pair, Room) else str(pair)


@pytest.mark.parametrize(("room", "name"), TENSOR_ARGS, ids=ids)
def test_wrong_rank(room: Room, name: str) -> None:
    values = arguments(room)
    values[name] = values[name][None]
    error = refusal(room, values)
    assert error.code == "OPSWAP_E_RANK" and name in error.message


@pytest.mark.parametrize(("room", "name"), TENSOR_ARGS, ids=ids)
def test_wrong_dtype(room: Room, name: str) -> None:
    values = arguments(room)
    values[name] = np.zeros(values[name].shape, np.int8)
    error = refusal(room, values)
    assert error.code == "OPSWAP_E_DTYPE" and name in error.message and "int8" in error.message


@pytest.mark.parametrize(("room", "name"), SPREAD, ids=ids)
def test_gap_in_the_last_dimension(room: Room, name: str) -> None:
    values = arguments(room)
    wide = np.zeros((*values[name].shape[:-1], values[name].shape[-1] * 2), values[name].dtype)
    values[name] = wide[..., ::2]
    error = refusal(room, values)
    assert error.code == "OPSWAP_E_STRIDE" and name in error.message


@pytest.mark.parametrize(("room", "name"), TENSOR_ARGS, ids=ids)
def test_scalar_for_a_tensor(room: Room, name: str) -> None:
    values = arguments(room)
    values[name] = 7
    error = refusal(room, values)
    assert error.code == "OPSWAP_E_ARGUMENT" and name in error.message


@pytest.mark.parametrize(("room", "name"), WRITTEN_ROWS, ids=ids)
def test_written_twice_through_one_address(room: Room, name: str) -> None:
    values = arguments(room)
    shape = values[name].shape
    values[name] = np.lib.stride_tricks.as_strided(values[name], shape, (0, *values[name].strides[1:]))
    error = refusal(room, values)
    assert error.code == "OPSWAP_E_OVERLAP" and name in error.message


@pytest.mark.parametrize(("room", "name"), WRITTEN, ids=ids)
def test_output_over_an_input(room: Room, name: str) -> None:
    values = arguments(room)
    other = next(a["name"] for a in room.args if a["kind"] == "tensor" and a["name"] != name)
    pool = np.zeros(max(values[name].nbytes, values[other].nbytes), np.uint8)
    for key in (name, other):
        flat = pool[: values[key].nbytes].view(values[key].dtype)
        values[key] = flat.reshape(values[key].shape)
    error = refusal(room, values)
    assert error.code == "OPSWAP_E_OVERLAP" and name in error.message


@pytest.mark.parametrize("room", ROOMS, ids=ids)
def test_dimensions_that_disagree(room: Room) -> None:
    """Growing one dimension of one tensor breaks every symbol that another tensor or `require` states too."""
    tried = 0
    for arg in (a for a in room.args if a["kind"] == "tensor"):
        for d, symbol in enumerate(arg["shape"]):
            others = [a for a in room.args if a is not arg and symbol in a.get("shape", ())]
            required = [text for text in room.spec.get("require", []) if re.fullmatch(rf"{symbol} == [^=]+", text)]
            if not others and not required:
                continue
            values = arguments(room)
            shape = list(values[arg["name"]].shape)
            shape[d] += 1
            values[arg["name"]] = np.zeros(shape, values[arg["name"]].dtype)
            assert refusal(room, values).code in {"OPSWAP_E_SHAPE", "OPSWAP_E_ARGUMENT", "OPSWAP_E_VALUE"}
            tried += 1
    assert tried > 0


@pytest.mark.parametrize("room", [r for r in rooms() if any("values" in a for a in r.args)], ids=ids)
def test_index_out_of_range(room: Room) -> None:
    for arg in (a for a in room.args if "values" in a):
        for wrong in (-2, 2**31 - 1):
            values = arguments(room)
            values[arg["name"]][-1] = wrong
            error = refusal(room, values)
            assert error.code == "OPSWAP_E_VALUE" and arg["name"] in error.message and str(wrong) in error.message


@pytest.mark.parametrize("op", ["attention_prefill", "attention_decode", "paged_attention"])
@pytest.mark.parametrize("wrong", [-1, 2147480000])
def test_page_outside_the_cache(op: str, wrong: int) -> None:
    room = next(r for r in rooms() if r.name == op)
    values = arguments(room)
    values["block_table"][0, 0] = wrong
    error = refusal(room, values)
    assert error.code == "OPSWAP_E_VALUE" and "block_table[0][0]" in error.message and str(wrong) in error.message


@pytest.mark.parametrize("handle", ["stream", "ready_event", "done_event"])
def test_a_cpu_has_no_streams(handle: str) -> None:
    room = next(r for r in rooms() if r.name == "copy_async")
    error = refusal(room, {**arguments(room), handle: 4096})
    assert error.code == "OPSWAP_E_VALUE" and f"{handle} is 4096" in error.message


def test_names() -> None:
    with pytest.raises(opswap.OpswapError, match="did you mean 'rms_norm'") as caught:
        opswap.call("rms_nrom")
    assert caught.value.code == "OPSWAP_E_NO_OP"
    with pytest.raises(opswap.OpswapError, match="it has ref, ") as caught:
        opswap.use("rms_norm", "sm91")
    assert caught.value.code == "OPSWAP_E_NO_IMPL"
    with pytest.raises(opswap.OpswapError) as caught:
        opswap.call("rms_norm", np.zeros((1, 4), np.float32))
    assert caught.value.code == "OPSWAP_E_COUNT"
