"""The least that an op must move and compute for given arguments: what a roofline starts from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

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
            moved += min(formula(touched[arg["name"]], dims), value.size) * value.itemsize
        else:
            moved += value.nbytes * (2 if arg.get("writes") and arg.get("reads") else 1)
    return Floor(moved, formula(declared["flops"], dims) if "flops" in declared else 0)


class Blank(np.random.Generator):
    """Makes arguments whose values nobody looks at: zeros in place of normal numbers, which large cases wait for."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, size: Any = None, *_: Any, **__: Any) -> Any:
        return np.zeros(() if size is None else size, np.float32)


def bench_types(spec: dict) -> tuple[dict[str, str], str | None]:
    """bfloat16 where a type variable allows it, else its first dtype; and the dtype of the kernels' instance."""
    types = {name: "bfloat16" if "bfloat16" in dtypes else dtypes[0] for name, dtypes in spec["types"].items()}
    floating = (t for name, t in types.items() if any("float" in d for d in spec["types"][name]))
    return types, next(floating, None)
