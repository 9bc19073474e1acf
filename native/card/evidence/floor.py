"""The least that an op must move and compute for given arguments: what a roofline starts from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from .rooms import Room, build

_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*")
_FORMULA = re.compile(r"[A-Z0-9 +*/%()-]+")


@dataclass(frozen=True)
class Floor:
    bytes: int
    flops: int  # 0: not declared, so memory alone bounds it


def dimensions(spec: dict, values: dict[str, Any]) -> dict[str, int]:
    """The op's symbols as these arguments bind them."""
    dims: dict[str, int] = {}
    for arg in spec["args"]:
        value = values.get(arg["name"])
        if arg["kind"] == "tensor" and value is not None:
            dims.update({s: n for s, n in zip(arg["shape"], value.shape, strict=True) if _SYMBOL.fullmatch(s)})
    return dims


def formula(text: str, dims: dict[str, int]) -> int:
    if not _FORMULA.fullmatch(text):
        raise ValueError(f"'{text}' needs numbers, symbols and + - * / % ( )")
    return int(eval(text, {"__builtins__": {}}, dims))


def touched_elements(part: Any, dims: dict[str, int], values: dict[str, Any]) -> int:
    """A formula over the symbols, or `{"rows": INDICES, "of": FORMULA}`: a row for each different number that these
    indices hold, those below zero naming none."""
    if isinstance(part, str):
        return formula(part, dims)
    numbers = np.unique(values[part["rows"]])
    return int((numbers >= 0).sum()) * formula(part["of"], dims)


def floor_of(spec: dict, values: dict[str, Any]) -> Floor:
    """Each input read once and each output written once, an updated one both; of a tensor of which op.json declares the
    part that is touched (`floor.touched`), that part once."""
    declared = spec.get("floor", {})
    touched = declared.get("touched", {})
    dims = dimensions(spec, values)
    moved = 0
    for arg in spec["args"]:
        value = values.get(arg["name"])
        if not isinstance(value, np.ndarray):
            continue
        if arg["name"] in touched:
            moved += min(touched_elements(touched[arg["name"]], dims, values), value.size) * value.itemsize
        else:
            moved += value.nbytes * (2 if arg.get("writes") and arg.get("reads") else 1)
    return Floor(moved, formula(declared["flops"], dims) if "flops" in declared else 0)


class _Nothing(np.ndarray):
    """Zeros that take memory only where somebody writes; as another dtype, one zero seen from everywhere."""

    def astype(self, dtype: Any, *_: Any, **__: Any) -> np.ndarray:
        return np.broadcast_to(np.zeros((), dtype), self.shape)


class _Blank(np.random.Generator):
    def __init__(self, written: bool) -> None:
        super().__init__(np.random.PCG64(0))
        self._written = written

    def standard_normal(self, size: Any = None, *_: Any, **__: Any) -> Any:
        zeros = np.zeros(() if size is None else size, np.float32)
        return zeros if self._written else zeros.view(_Nothing)


def shapes(room: Room, case: dict, types: dict[str, str]) -> dict[str, Any]:
    """Arguments whose values nobody looks at: large cases need neither the time for random numbers nor the memory."""
    try:
        return build(room, case, types, rng=_Blank(written=False))
    except ValueError:  # the room's `inputs` writes into them
        return build(room, case, types, rng=_Blank(written=True))


def bench_types(spec: dict, codes: bool = True) -> tuple[dict[str, str], str | None]:
    """bfloat16 where a type variable allows it, else its first dtype, but what may be codes beside weights of codes is
    codes, which alone the kernels multiply; and the dtype of the kernels' instance."""
    first = ["bfloat16"]
    if codes:
        first = spec["types"].get("code", []) + first
    types = {
        name: next((dtype for dtype in first if dtype in dtypes), dtypes[0]) for name, dtypes in spec["types"].items()
    }
    floating = (t for name, t in types.items() if any("float" in d for d in spec["types"][name]))
    return types, next(floating, None)
