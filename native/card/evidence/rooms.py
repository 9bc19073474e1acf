"""Rooms: declarations, references, cases, and arguments in memory that betrays wrong accesses."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from .choices import type_choices
from .places import KERNELS

GUARD = 64  # elements on each side of every written tensor that nobody may touch
ALIGNED = 64  # bytes that a tensor starts on where its case does not say "unaligned", as in torch
INT_POISON = -7777
PIECE = 1 << 16  # elements of a tensor that are compared at a time


@dataclass(frozen=True)
class Room:
    """One kernels/<op>/ folder."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def spec(self) -> dict:
        return _read_json(self.path / "op.json")

    @property
    def args(self) -> list[dict]:
        return self.spec["args"]

    @property
    def module(self) -> ModuleType:
        return _load(self.path / "ref.py")

    @property
    def peer(self) -> ModuleType | None:
        """What the benches time the op against; not every room has it. It needs torch."""
        path = self.path / "peer.py"
        return _load(path) if path.exists() else None

    def type_choices(self) -> list[dict[str, str]]:
        """Every combination of dtypes that the op declares."""
        return type_choices(self.spec)


@cache
def _read_json(path: Path) -> dict:
    return json.loads(path.read_text())


@cache
def _load(path: Path) -> ModuleType:
    shared = str(path.parents[1])  # where rooms find what they share, in kernels/common
    if shared not in sys.path:
        sys.path.append(shared)
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{path.parent.name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rooms(kernels: Path = KERNELS) -> list[Room]:
    return [Room(p.parent) for p in sorted(kernels.glob("*/op.json"))]


def case_id(case: dict) -> str:
    return ",".join(f"{k}={json.dumps(v, separators=(',', ':'))}" for k, v in case.items())


def numpy_dtype(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, None) or name)


@cache
def _compiled(expression: str) -> CodeType:
    assert re.fullmatch(r"[A-Z0-9 +*/%()-]+", expression), expression
    return compile(expression, expression, "eval")


def evaluate(expression: str, dims: dict[str, int]) -> int:
    """op.json's arithmetic over dims; only numbers, symbols and + - * / % ( )."""
    return int(eval(_compiled(expression), {"__builtins__": {}}, dims))


def default_value(arg: dict, types: dict[str, str], dims: dict[str, int], rng: np.random.Generator) -> Any:
    """A random tensor of the declared shape; indices within their declared range."""
    dtype = numpy_dtype(types[arg["dtype"]])
    shape = [evaluate(d, dims) for d in arg["shape"]]
    if dtype.kind not in "iu":
        return rng.standard_normal(shape).astype(dtype)
    low, high = (evaluate(arg["values"][k], dims) for k in ("min", "max")) if "values" in arg else (0, 100)
    return rng.integers(low, high + 1, size=shape).astype(dtype) if prod(shape) else np.zeros(shape, dtype)


def build(
    room: Room, case: dict, types: dict[str, str], seed: int = 0, rng: np.random.Generator | None = None
) -> dict[str, Any]:
    """The arguments of a case by name: the room's own `inputs` when it has one, else random ones."""
    rng = np.random.default_rng(seed) if rng is None else rng

    def make(**dims: int) -> dict[str, Any]:
        known = {**{k: v for k, v in case.items() if k.isupper()}, **dims}
        return {a["name"]: _value(a, case, types, known, rng) for a in room.args}

    custom = getattr(room.module, "inputs", None)
    values = custom(case, rng, make) if custom else make()
    return {k: None if k in case.get("none", ()) else v for k, v in values.items()}


def _value(arg: dict, case: dict, types: dict[str, str], dims: dict[str, int], rng: np.random.Generator) -> Any:
    if arg["name"] in case.get("none", ()):
        return None
    return (
        default_value(arg, types, dims, rng) if arg["kind"] == "tensor" else case.get(arg["name"], arg.get("default"))
    )


class Placed:
    """Arguments in guarded memory: outputs start as NaN, strided tensors have gaps, unaligned ones an odd start."""

    def __init__(self, room: Room, case: dict, values: dict[str, Any]) -> None:
        self.values = dict(values)
        self._bases: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._inputs: dict[str, np.ndarray] = {}
        for arg in room.args:
            value = values[arg["name"]]
            if arg["kind"] != "tensor" or value is None:
                continue
            if not (case.get("fused") and value.base is not None):
                self._place(arg, value, case)
            if not arg.get("writes"):
                self._inputs[arg["name"]] = self.values[arg["name"]].copy()

    def _place(self, arg: dict, value: np.ndarray, case: dict) -> None:
        gap = 3 if arg["name"] in case.get("strided", ()) else 0
        widened = [*value.shape[:-1], value.shape[-1] + gap]
        length = prod(widened)
        base = np.full(length + 2 * GUARD + ALIGNED, _poison(value.dtype))
        start = GUARD + -base[GUARD:].ctypes.data % ALIGNED // value.itemsize
        start += 1 if arg["name"] in case.get("unaligned", ()) else 0
        view = base[start : start + length].reshape(widened)[..., : value.shape[-1]]
        if not arg.get("writes") or arg.get("reads"):
            view[...] = value
        outside = np.ones(base.shape, bool)
        outside[start : start + length].reshape(widened)[..., : value.shape[-1]] = False
        self.values[arg["name"]] = view
        self._bases[arg["name"]] = (base, base.copy(), outside)

    def assert_untouched(self) -> None:
        """Nothing outside the written views changed, and no input did."""
        for name, (base, before, outside) in self._bases.items():
            same = base[outside].view(np.uint8) == before[outside].view(np.uint8)
            assert same.all(), f"memory around {name} was written"
        for name, before in self._inputs.items():
            now = np.ascontiguousarray(self.values[name]).view(np.uint8)
            assert (now == np.ascontiguousarray(before).view(np.uint8)).all(), f"input {name} was written"


def _poison(dtype: np.dtype) -> Any:
    return np.array(INT_POISON).astype(dtype)[()] if dtype.kind in "iu" else dtype.type(np.nan)


def assert_close(name: str, got: np.ndarray, expected: np.ndarray, tolerance: dict[str, dict[str, float]]) -> None:
    """Float64 comparison under op.json's tolerance for the tensor's own dtype; NaN passes only where the reference is.

    `equal_ratio` is the share of elements that has to be the same: for codes, whose tolerance is a whole step.
    """
    limits = tolerance.get(str(got.dtype), {"atol": 0.0, "rtol": 0.0})
    expected = np.asarray(expected)
    assert got.shape == expected.shape, f"{name}: shape {got.shape}, reference {expected.shape}"
    pieces = [_compared(*piece, limits) for piece in _pieces(got, expected)]
    if bad := sum(int(piece.bad.sum()) for piece in pieces):
        whole = _compared(got, expected, limits)
        far = np.where(np.isnan(whole.error), np.inf, whole.error - whole.allowed)
        at = tuple(int(i) for i in np.unravel_index(int(np.argmax(far)), far.shape))
        raise AssertionError(
            f"{name}: {bad} of {got.size} elements differ; worst at {at}: got {np.float64(got[at])!r}, "
            f"reference {np.float64(expected[at])!r}, allowed {whole.allowed[at]:g}"
        )
    differ, ratio = sum(int((~piece.same).sum()) for piece in pieces), limits.get("equal_ratio", 0.0)
    # One element of a small tensor may round the other way.
    if differ > max(1, (1 - ratio) * got.size):
        raise AssertionError(f"{name}: {differ} of {got.size} elements differ, {ratio:g} of them have to be equal")


def _pieces(got: np.ndarray, expected: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows that a cache holds: comparing takes several passes, and large tensors most of the time of a test run."""
    if got.size <= PIECE or got.ndim < 2:
        return [(got, expected)]
    count = min(len(got), -(-got.size // PIECE))
    return list(zip(np.array_split(got, count), np.array_split(expected, count), strict=True))


class _Compared(NamedTuple):
    error: np.ndarray
    allowed: np.ndarray
    same: np.ndarray
    bad: np.ndarray


def _compared(got: np.ndarray, expected: np.ndarray, limits: dict[str, float]) -> _Compared:
    got64, expected64 = got.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        error = np.abs(got64 - expected64)
        allowed = limits["atol"] + limits["rtol"] * np.abs(expected64)
        same = (got64 == expected64) | (np.isnan(got64) & np.isnan(expected64))
        return _Compared(error, allowed, same, ~((error <= allowed) | same))
