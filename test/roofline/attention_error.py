"""How far attention is from float64 of the same inputs, and what of its products is padding, on the emulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from card.evidence.rooms import Placed, Room, build, rooms
from roofline.count import Counted, summed
from roofline.products import lined

#: FlashMLA's tolerances: of an element, absolute or relative, and of the log-sum-exp.
ABSOLUTE, RELATIVE, LSE = 8e-4, 2.01 / 128, 1e-6
BFLOAT = {"scalar": "bfloat16", "cache": "bfloat16", "float": "float32", "table": "int32"}
CODES = BFLOAT | {"cache": "float8_e4m3fn"}
HEADS = {"D": 128, "V": 128, "BS": 16, "KS": 0}
#: Query heads that share a head of keys.
GROUP = 8


@dataclass(frozen=True)
class Case:
    op: str
    lens: list[list[int]]
    cosine: float = 5e-6  # what 1 - cosine may be
    codes: bool = False  # an FP8 cache with a scale for each slot; its elements are held against cosine alone
    products: bool = False  # an FP8 cache with one scale, whose codes are multiplied by a query that is codes already
    q_len: int = 1
    kv_heads: int = 1
    prefix_len: int = 0

    @property
    def said(self) -> dict[str, Any]:
        none = ["sinks", "plan", "key_start_loc"]
        none += [] if self.products else ["k_scale", "v_scale"]
        none += [] if self.codes else ["k_scale_cache", "v_scale_cache"]
        heads = {"KH": self.kv_heads, "QH": GROUP * self.kv_heads}
        how = {"fp8_products": self.products, "KS": int(self.products), "prefix_len": self.prefix_len}
        return {"lens": self.lens, **HEADS, **heads, **how, "q_len": self.q_len, "none": none}

    def values(self, room: Room) -> dict[str, Any]:
        types = CODES if self.codes or self.products else BFLOAT
        values = Placed(room, self.said, build(room, self.said, types)).values
        if self.products:
            query = values["query"]
            query[:] = query.astype(ml_dtypes.float8_e4m3fn).astype(query.dtype)
        return values


#: So many keys that the rounding of probabilities to BF16 is small: of 70 keys it takes some elements out.
CASES = {
    "decode": Case("attention_decode", [[1, 900], [1, 2000]]),
    "decode, a block for each head": Case("attention_decode", [[1, 384]], kv_heads=132),
    "decode of 4 tokens": Case("attention_decode", [[4, 900]], q_len=4),
    "decode, FP8 cache": Case("attention_decode", [[1, 900], [1, 70]], cosine=1e-4, codes=True),
    "prefill": Case("attention_prefill", [[64, 900]]),
    "prefill, FP8 cache": Case("attention_prefill", [[64, 600]], cosine=1e-4, codes=True),
    "prefill, FP8 products": Case("attention_prefill", [[64, 900]], cosine=1e-3, products=True),
    "cascade": Case("cascade_attention", [[1, 300], [4, 200]], prefix_len=900),
}


@dataclass(frozen=True)
class Error:
    within: float  # share of elements
    cosine: float  # 1 - cosine
    lse: float  # the largest difference, or relative one where that is less
    useful: float  # share of the queries' side of products that is no padding


def cosine_error(x: np.ndarray, y: np.ndarray) -> float:
    return float(1 - (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def error_of(case: Case, counted: Counted) -> Error:
    room = next(room for room in rooms() if room.name == case.op)
    values = case.values(room)
    expected = room.module.ref(**{k: v.copy() if isinstance(v, np.ndarray) else v for k, v in values.items()})
    launches = counted.launches(room, values)
    if isinstance(launches, str):
        raise ValueError(f"{room.name} has not run: {launches}")
    out, right = values["out"].astype(np.float64), expected["out"]
    off, lse = np.abs(out - right), np.abs(values["lse"] - expected["lse"])
    within = case.codes | case.products | (off <= ABSOLUTE) | (off <= RELATIVE * np.abs(right))
    side = "columns" if case.op == "attention_decode" else "rows"
    useful = summed(launches, f"wgmma_useful_{side}") / max(1, summed(launches, f"wgmma_{side}"))
    least = np.minimum(lse, lse / np.abs(expected["lse"]))
    return Error(float(within.mean()), cosine_error(out, right), float(least.max()), useful)


def error_table(counted: Counted) -> str:
    head = ["emulated, against float64", "within", "1 - cosine", "lse", "useful rows of queries"]
    rows = [head] + [
        [name, f"{e.within:.1%}", f"{e.cosine:.1e}", f"{e.lse:.1e}", f"{e.useful:.3f}"]
        for name, e in ((name, error_of(case, counted)) for name, case in CASES.items())
    ]
    return lined(rows)
