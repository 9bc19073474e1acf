"""Per op and benchmark case: the least time on each device, and how far the emulated kernels are from the least work.

npm run roofline [-- OP ...] [-- --quick]   prints a table and writes build/roofline.json; nothing here is measured
npm run roofline -- products                how products are cut for each card: useful rows, balance, traffic
npm run roofline -- attention               how sequences are cut for each card: balance, traffic; error
"""

from __future__ import annotations

import argparse
import json
import sys
from math import prod
from pathlib import Path
from typing import Any

from card.evidence.floor import Floor, bench_types, floor_of, shapes
from ops.rooms import ROOT, Placed, Room, build, kernel_rooms
from roofline import attention, products
from roofline.cards import DEVICES
from roofline.count import Counted, elements, traffic, zeros
from roofline.occupancy import compiled, occupancy

#: Bytes that a case must at least move for the emulator to be asked to run it.
MOST_BYTES = {"quick": 1 << 19, "full": 1 << 30}
#: Elements of all tensors from which on a case is run with zeros: what a kernel moves hangs on indices alone.
RANDOM_ELEMENTS = 1 << 24


def least_us(floor: Floor, device: dict, dtype: str) -> float:
    """The longer of moving the bytes and computing the products at the data sheet's peaks."""
    moving = floor.bytes / device["bandwidth_gbps"] / 1e3
    computing = floor.flops / device["tflops"].get(dtype, device["tflops"]["float32"]) / 1e6
    return max(moving, computing)


def waves(op: str, dtype: str | None, launches: list[dict]) -> tuple[dict[str, float], str] | None:
    """Of the launch with most blocks: its blocks over what a device holds at once, and what limits an SM."""
    launch = max(launches, key=lambda one: prod(one["grid"]), default=None)
    row = compiled(op, dtype, launch["kernel"]) if launch else None
    if launch is None or row is None:
        return None
    held = occupancy(row["registers"], row["shared"] + launch["smem"], prod(launch["block"]))
    blocks = prod(launch["grid"])
    return {name: blocks / (d["sms"] * max(held.blocks, 1)) for name, d in DEVICES.items()}, held.limit


def row_of(room: Room, case: dict, counted: Counted | None, most: int) -> dict[str, Any]:
    types, dtype = bench_types(room.spec)
    values = shapes(room, case, types)
    floor = floor_of(room.spec, values)
    row: dict[str, Any] = {"op": room.name, "case": case, "types": types, "bytes": floor.bytes, "flops": floor.flops}
    row["least_us"] = {name: least_us(floor, device, dtype or "float32") for name, device in DEVICES.items()}
    if counted is None:
        return {**row, "not_counted": "there is no emulated library"}
    if floor.bytes > most:
        return {**row, "not_counted": f"moves {floor.bytes} bytes, the emulator is asked for at most {most}"}
    blank = elements(values) > RANDOM_ELEMENTS
    values = zeros(values) if blank else build(room, case, types)
    launches = counted.launches(room, values if blank else Placed(room, case, values).values)
    if isinstance(launches, str):
        return {**row, "not_counted": launches}
    row |= {"launches": len(launches), **traffic(launches, floor_of(room.spec, values).bytes)}
    if found := waves(room.name, dtype, launches):
        row["waves"], row["limit"] = found
    return row


def short(case: dict) -> str:
    return ",".join(f"{k}={v if not isinstance(v, list) else len(v)}" for k, v in case.items() if k != "none")


def cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def table(rows: list[dict[str, Any]]) -> str:
    names = list(DEVICES)
    head = [
        "op",
        "case",
        "bytes",
        *(f"{n} us" for n in names),
        "traffic",
        "asked",
        "conflicts",
        "rows",
        "waves",
        "limit",
    ]
    lines = [head]
    for r in rows:
        wave = "/".join(f"{r['waves'][n]:.2f}" for n in names) if "waves" in r else "-"
        least = [f"{r['least_us'][n]:.3f}" for n in names]
        counts = [cell(r.get("traffic"), ".3f"), cell(r.get("asked"), ".3f"), cell(r.get("bank_conflicts"), "d")]
        line = [r["op"], short(r["case"]), str(r["bytes"]), *least, *counts, cell(r.get("useful_rows"), ".2f"), wave]
        lines.append([*line, r.get("limit", "-")])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    legend = (
        "us: least time at the data sheet's peaks. traffic, asked: sectors of 32 bytes over the least bytes, with a "
        "perfect cache and with none.\nrows: useful rows of tensor products. waves: blocks over what "
        f"{'/'.join(names)} hold at once. Emulated and computed; nothing is measured."
    )
    return "\n".join([*text, legend])


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="npm run roofline --", description=__doc__.split("\n", 1)[0])
    parser.add_argument("ops", nargs="*", help="all that have kernels when none is named")
    parser.add_argument("--quick", action="store_true", help="the emulator runs only small cases")
    parser.add_argument("--library", type=Path, help="libopswap.so built for the emulator")
    parser.add_argument("--json", type=Path, default=ROOT / "build/roofline.json")
    asked = parser.parse_args(argv)
    known = {room.name: room for room in kernel_rooms()}
    unknown = sorted(set(asked.ops) - set(known))
    alone = (products.PRODUCTS, attention.ATTENTION)
    if unknown and asked.ops not in [[name] for name in alone]:
        print(f"no kernels in {', '.join(unknown)}; there are {', '.join(known)}, and {' or '.join(alone)} alone")
        return 2
    counted = Counted(asked.library) if asked.library else None
    if asked.ops == [attention.ATTENTION]:
        print(attention.shown(counted))
        return 0
    if asked.ops == [products.PRODUCTS]:
        print(products.shown(counted))
        return 0
    most = MOST_BYTES["quick" if asked.quick else "full"]
    chosen = [known[name] for name in asked.ops or known]
    rows = [row_of(room, case, counted, most) for room in chosen for case in room.spec.get("bench", [])]
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
