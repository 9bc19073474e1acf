"""What Python's callers pass: outputs that must not be written, numbers of every origin, several protocols."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import opswap
import pytest

X = np.linspace(-2, 2, 24, dtype=np.float32).reshape(3, 8)
W = np.full(8, 2, np.float32)


def refused(code: str, words: str, op: str, *args: Any, **how: Any) -> None:
    with pytest.raises(opswap.OpswapError) as caught:
        opswap.call(op, *args, **how)
    assert caught.value.code == code and words in caught.value.message, caught.value


class Locked:
    """An array that can be had by one protocol only."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array


class ByDLPack(Locked):
    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **wanted: Any) -> Any:
        return self.array.__dlpack__(**wanted)


class ByOldDLPack(ByDLPack):
    def __dlpack__(self, stream: Any = None) -> Any:
        return self.array.__dlpack__()


class ByCopy(ByDLPack):
    def __dlpack__(self, **wanted: Any) -> Any:
        return self.array.__dlpack__(**{**wanted, "copy": True})


class ByInterface(Locked):
    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.array.__array_interface__


def flagged(folder: Path) -> np.ndarray:
    array = np.zeros((3, 8), np.float32)
    array.setflags(write=False)
    return array


def of_bytes(folder: Path) -> np.ndarray:
    return np.frombuffer(bytes(3 * 8 * 4), np.float32).reshape(3, 8)


def of_a_view(folder: Path) -> np.ndarray:
    return np.asarray(memoryview(bytearray(3 * 8 * 4)).toreadonly().cast("f", (3, 8)))


def of_a_file(folder: Path) -> np.ndarray:
    np.save(folder / "out.npy", np.zeros((3, 8), np.float32))
    return np.load(folder / "out.npy", mmap_mode="r")


def of_a_map(folder: Path) -> np.ndarray:
    (folder / "raw").write_bytes(bytes(3 * 8 * 4))
    with (folder / "raw").open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.float32).reshape(3, 8)


READ_ONLY: list[Callable[[Path], np.ndarray]] = [flagged, of_bytes, of_a_view, of_a_file, of_a_map]


@pytest.mark.parametrize("protocol", [lambda a: a, ByDLPack, ByInterface], ids=["numpy", "dlpack", "interface"])
@pytest.mark.parametrize("made", READ_ONLY, ids=lambda f: f.__name__)
def test_a_read_only_output_is_refused_and_stays(made: Callable, protocol: Callable, tmp_path: Path) -> None:
    out = made(tmp_path)
    refused("OPSWAP_E_READ_ONLY", "silu: out is written, needs memory that may be", "silu", protocol(out), X)
    assert not out.any()


@pytest.mark.parametrize("protocol", [lambda a: a, ByDLPack, ByInterface], ids=["numpy", "dlpack", "interface"])
@pytest.mark.parametrize("made", READ_ONLY, ids=lambda f: f.__name__)
def test_a_read_only_input_is_read(made: Callable, protocol: Callable, tmp_path: Path) -> None:
    out = np.full((3, 8), np.nan, np.float32)
    opswap.call("silu", out, protocol(made(tmp_path)))
    assert not out.any()
    assert opswap.why("silu", protocol(made(tmp_path)), X)["impls"]  # asking writes nothing


def test_every_written_argument_is_looked_at() -> None:
    """Not only the first: the residual of a fused norm is written too."""
    out, residual = np.ones((3, 8), np.float32), flagged(Path())
    refused("OPSWAP_E_READ_ONLY", "fused_add_rms_norm: residual", "fused_add_rms_norm", out, residual, W)
    assert (out == 1).all()


def test_a_read_only_workspace_is_refused() -> None:
    refused(
        "OPSWAP_E_READ_ONLY", "workspace", "silu", np.empty_like(X), X, workspace=np.frombuffer(bytes(64), np.uint8)
    )


def test_a_copy_made_on_the_way_is_no_output() -> None:
    """The result would go to the copy, and nobody would see it."""
    out = np.zeros_like(X)
    refused("OPSWAP_E_READ_ONLY", "a copy that its __dlpack__ made", "silu", ByCopy(out), X)
    opswap.call("copy", np.empty((1, 1, 3, 8), np.float32), ByCopy(X.reshape(1, 1, 3, 8)))


@pytest.mark.parametrize("protocol", [ByDLPack, ByOldDLPack, ByInterface])
def test_arrays_of_one_protocol_are_written(protocol: Callable) -> None:
    out = np.full((3, 8), np.nan, np.float32)
    opswap.call("silu", protocol(out), protocol(X))
    np.testing.assert_allclose(out, X / (1 + np.exp(-X)), rtol=1e-5)


def test_what_a_producer_refuses_is_an_error_of_the_library() -> None:
    refused("OPSWAP_E_ARGUMENT", "silu: out: its __dlpack__ refuses", "silu", ByOldDLPack(flagged(Path())), X)


@pytest.mark.parametrize("order", [">f4", ">f8"])
def test_bytes_in_the_other_order_are_refused(order: str) -> None:
    refused("OPSWAP_E_DTYPE", order, "silu", np.empty_like(X), X.astype(order))
    refused("OPSWAP_E_DTYPE", order, "silu", np.empty_like(X), ByInterface(X.astype(order)))


def test_a_mask_is_not_left_out() -> None:
    masked = np.ma.masked_greater(X.copy(), 0)
    refused("OPSWAP_E_ARGUMENT", "input is a masked array", "silu", np.empty_like(X), masked)


@pytest.mark.parametrize("value", [bytes(96), bytearray(96), memoryview(bytes(96)), [1.0], object(), 1j])
def test_what_is_no_array_is_refused(value: Any) -> None:
    refused("OPSWAP_E_ARGUMENT", "silu: input", "silu", np.empty_like(X), value)


HALF = [
    0.5,
    np.float16(0.5),
    np.float32(0.5),
    np.float64(0.5),
    np.longdouble(0.5),
    ml_dtypes.bfloat16(0.5),
    np.array(0.5),
    np.array(0.5, np.float32),
]
ONE = [1, True, np.int8(1), np.uint64(1), np.bool_(True), np.array(1), np.array(1, np.uint8)]


@pytest.mark.parametrize(("values", "epsilon"), [(HALF, 0.5), (ONE, 1.0)])
def test_a_float_takes_every_number(values: list, epsilon: float) -> None:
    expected = X / np.sqrt((X.astype(np.float64) ** 2).mean(-1, keepdims=True) + epsilon) * 2
    for value in values:
        out = np.full_like(X, np.nan)
        opswap.call("rms_norm", out, X, W, value)
        np.testing.assert_allclose(out, expected, rtol=1e-5, err_msg=repr(type(value)))


def test_a_float_keeps_numpys_single_precision() -> None:
    """epsilon counts as the double that np.float32 stands for: on a row of zeros but for one it is all that is left."""
    out, x = np.empty((1, 1), np.float32), np.full((1, 1), 1e-18, np.float32)
    opswap.call("rms_norm", out, x, np.ones(1, np.float32), np.float32(1e-6))
    np.testing.assert_allclose(out[0, 0], 1e-18 / np.sqrt(float(np.float32(1e-6))), rtol=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        np.complex64(1),
        np.datetime64(1, "s"),
        np.timedelta64(1, "ns"),
        np.array("1e-6"),
        np.array(None),
        np.array([1e-6]),
        np.nextafter(np.longdouble(1), np.longdouble(2)),
        2**53 + 1,
        np.uint64(2**64 - 1),
        10**400,
        10**5000,
        "1e-6",
        None,
        b"1",
    ],
    ids=lambda v: f"{type(v).__name__}",
)
def test_a_float_takes_nothing_else(value: Any) -> None:
    refused("OPSWAP_E_ARGUMENT", "rms_norm: epsilon", "rms_norm", np.empty_like(X), X, W, value)


def topk(experts: Any = 2, sigmoid: Any = False) -> np.ndarray:
    """grouped_topk has int and bool fields: the best two of four groups of two."""
    weights, ids = np.empty((1, 2), np.float32), np.full((1, 2), -1, np.int32)
    gate = np.array([[0, 1, 2, 3, 4, 5, 6, 7]], np.float32)
    opswap.call("grouped_topk", weights, ids, gate, None, None, None, 4, experts, sigmoid)
    return ids


@pytest.mark.parametrize(
    "value", [2, np.int8(2), np.int32(2), np.int64(2), np.uint64(2), np.array(2), np.array(2, np.uint8)]
)
def test_an_int_takes_every_whole_number(value: Any) -> None:
    np.testing.assert_array_equal(topk(value), [[7, 6]])


@pytest.mark.parametrize(
    "value",
    [
        2.0,
        np.float32(2),
        True,
        np.bool_(True),
        np.timedelta64(2, "ns"),
        2**63,
        -(2**63) - 1,
        np.uint64(2**63),
        "2",
        10**5000,
    ],
    ids=lambda v: f"{type(v).__name__}",
)
def test_an_int_takes_nothing_else(value: Any) -> None:
    with pytest.raises(opswap.OpswapError, match=r"grouped_topk: topk_group is .*needs an int") as caught:
        topk(value)
    assert caught.value.code == "OPSWAP_E_ARGUMENT"


def test_a_bool_takes_bools_alone() -> None:
    for value in (True, np.bool_(True), np.array(True)):
        np.testing.assert_array_equal(topk(2, value), [[7, 6]])
    for value in (1, np.int64(1), 1.0, np.float32(1)):
        with pytest.raises(opswap.OpswapError, match=r"use_sigmoid is an? (int|float), needs a bool"):
            topk(2, value)


def test_a_number_of_numpys_is_no_tensor() -> None:
    refused("OPSWAP_E_ARGUMENT", "silu: input is a float, needs a tensor", "silu", np.empty_like(X), np.float32(1))
    refused("OPSWAP_E_ARGUMENT", "silu: input is an int, needs a tensor", "silu", np.empty_like(X), np.int64(1))


def test_settings_take_numpys_integers() -> None:
    threads = opswap.get_threads()
    opswap.set_threads(np.int64(1))
    assert opswap.get_threads() == 1
    opswap.set_threads(threads)
    opswap.call("silu", np.empty_like(X), X, sm_budget=np.int32(0), stream=np.int64(0))
