"""What Python makes of every op.json, for the test of the command line's shapes: values of its expressions, and each
case's arguments, the tensors that a caller gives written to FOLDER.

python cases.py FOLDER   prints JSON; needs test/ops, native and kernels on PYTHONPATH
"""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

import numpy as np
import rooms

NAME = r"[A-Za-z_]\w*"
SAFETENSORS = {
    "float32": "F32", "bfloat16": "BF16", "float16": "F16", "float8_e4m3fn": "F8_E4M3",
    "int64": "I64", "int32": "I32", "uint8": "U8",
}  # fmt: skip
LARGEST = 100_000  # bytes of a case that is also called; the others show nothing more


def value(expression: str, known: dict) -> float:
    """Python's own arithmetic; sizes are whole and not negative, so // is C++'s division."""
    text = re.sub(r"!(?!=)", " not ", expression).replace("/", "//")
    return eval(text, {"__builtins__": {}}, known) + 0


def expressions(spec: dict) -> list[str]:
    tensors = [a for a in spec["args"] if a["kind"] == "tensor"]
    found = [e for a in tensors for e in (*a["shape"], *a.get("values", {}).values())]
    found += [a["reads"] for a in tensors if isinstance(a.get("reads"), str)]
    return list(dict.fromkeys(found + spec.get("require", [])))


def sampled(spec: dict, known: dict, rng: random.Random) -> list:
    """Each expression where the case has it, and with other sizes and scalars, which conditions may refuse."""
    rows = []
    for text in expressions(spec):
        names = [n for n in re.findall(NAME, text) if n not in ("and", "or")]
        here = {n: known[n] for n in names}
        other = {n: not v if isinstance(v, bool) else rng.choice([1, 2, 128, 300]) for n, v in here.items()}
        rows += [[spec["op"], text, values, value(text, values)] for values in (here, other)]
    return rows


def reads(arg: dict, known: dict) -> bool:
    condition = arg.get("reads", False)
    return bool(value(condition, known)) if isinstance(condition, str) else condition


def only_written(spec: dict, known: dict) -> set[str]:
    return {a["name"] for a in spec["args"] if a.get("writes") and not reads(a, known)}


def sizes_of(args: list[dict], values: dict) -> dict[str, int]:
    """The sizes as the case's arrays have them; those of absent tensors alone are 0, as in the library."""
    sizes = {s: 0 for a in args for dim in a.get("shape", []) for s in re.findall(NAME, dim)}
    for a in args:
        if a["kind"] == "tensor" and values[a["name"]] is not None:
            sizes |= {d: n for d, n in zip(a["shape"], values[a["name"]].shape, strict=True) if d in sizes}
    return sizes


def write(file: Path, tensors: dict[str, np.ndarray]) -> None:
    header, data = {}, b""
    for name, array in tensors.items():
        packed = np.ascontiguousarray(array).tobytes()
        offsets = [len(data), len(data) + len(packed)]
        header[name] = {"dtype": SAFETENSORS[array.dtype.name], "shape": array.shape, "data_offsets": offsets}
        data += packed
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def one(room: rooms.Room, i: int, case: dict, folder: Path, rng: random.Random) -> tuple[dict, list]:
    spec = room.spec
    scalars = {a["name"]: case.get(a["name"], a.get("default")) for a in room.args if a["kind"] != "tensor"}
    made = only_written(spec, scalars)
    choices = room.type_choices()
    given = {a["dtype"] for a in room.args if a["kind"] == "tensor" and a["name"] not in {*made, *case.get("none", ())}}
    # A type that no given tensor has is the first one that the op takes.
    types = {t: c if t in given else spec["types"][t][0] for t, c in choices[i % len(choices)].items()}
    values = rooms.build(room, case, types)
    tensors = {a["name"]: values[a["name"]] for a in room.args if a["kind"] == "tensor"}
    known = sizes_of(room.args, values) | {n: values[n] for n in scalars}
    present = {n: t for n, t in tensors.items() if t is not None}
    file = folder / f"{room.name}-{i}.safetensors"
    small = sum(t.nbytes for t in present.values()) < LARGEST
    if small:
        write(file, {n: t for n, t in present.items() if n not in made})
    call = {
        "op": room.name,
        "case": rooms.case_id(case),
        "sizes": {n: v for n, v in known.items() if n not in scalars},
        "scalars": {n: values[n] for n in scalars},
        "tensors": {n: t if t is None else {"dtype": t.dtype.name, "shape": t.shape} for n, t in tensors.items()},
        "made": sorted(made & present.keys()),
        "file": str(file) if small else None,
    }
    return call, sampled(spec, known, rng)


def main(folder: Path) -> None:
    rng = random.Random(11)
    found = [one(r, i, case, folder, rng) for r in rooms.rooms() for i, case in enumerate(r.spec["cases"])]
    json.dump(
        {"calls": [call for call, _ in found], "expressions": [row for _, rows in found for row in rows]}, sys.stdout
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
