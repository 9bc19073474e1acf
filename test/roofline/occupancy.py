"""How many blocks of a kernel an SM of sm_90 holds, from the committed table of what each compiled kernel takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import inf

from ops.rooms import ROOT

REGISTERS, REGISTER_STEP = 65536, 256  # per SM; a warp gets whole steps
WARPS, BLOCKS, WARP = 64, 32, 32
SHARED, RESERVED = 228 * 1024, 1024  # per SM; of each block's part the system keeps some
TABLE = ROOT / "test/static/kernels.json"


@dataclass(frozen=True)
class Occupancy:
    blocks: int
    limit: str  # what there is not enough of for one more


def occupancy(registers: int, shared: int, threads: int) -> Occupancy:
    """`shared` is static and dynamic bytes together."""
    warps = -(-threads // WARP)
    per_warp = -(-registers * WARP // REGISTER_STEP) * REGISTER_STEP
    limits = {
        "threads": WARPS // warps,
        "registers": int(REGISTERS // per_warp // warps) if per_warp else inf,
        "shared memory": SHARED // (shared + RESERVED),
        "blocks": BLOCKS,
    }
    limit = min(limits, key=lambda name: limits[name])
    return Occupancy(int(limits[limit]), limit)


def compiled(op: str, dtype: str | None, kernel: str) -> dict | None:
    """The row of a kernel as a launch names it, without template arguments: the one with most registers."""
    instances = (f"sm90_{dtype}", "sm90_all")  # the latter where one compilation serves every dtype
    rows = [
        row
        for row in json.loads(TABLE.read_text())["kernels"]
        if row["op"] == op
        and row["instance"] in instances
        and row["kernel"].split("<")[0] == kernel.split("<", maxsplit=1)[0]
    ]
    return max(rows, key=lambda row: row["registers"], default=None)
