"""One op in a process of its own: a fault, a hang or a crash of one kernel ends nothing else.

python -m PACKAGE.worker OP LIBRARY BACKEND SEED RESULT check|smallest|time SECONDS ELEMENTS
appends one line of JSON per finished case to RESULT; cases of more than ELEMENTS are left out, 0: of more than is usual
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TextIO

import numpy as np

from .abi import Library
from .backend import Backend, Card, Emulator
from .choices import choices_of
from .examine import examine
from .floor import bench_types, floor_of, shapes
from .places import KERNELS
from .rooms import Room, build

#: Elements of all tensors of a case; more takes the emulator seconds, and a card's reference too long on the host.
MOST_ELEMENTS = {"emulated": 1 << 18, "cuda": 1 << 27}


def backend_named(kind: str) -> Backend:
    return Emulator() if kind == "emulated" else Card()


def say(out: TextIO, kind: str, **row: object) -> None:
    """At once, so that what was finished before a crash is known."""
    out.write(json.dumps({"kind": kind, **row}) + "\n")
    out.flush()


def elements(room: Room, case: dict, types: dict[str, str]) -> int:
    return sum(v.size for v in shapes(room, case, types).values() if isinstance(v, np.ndarray))


def correctness(
    out: TextIO, library: Library, backend: Backend, room: Room, seed: int, smallest: bool, most: int
) -> None:
    most = most or MOST_ELEMENTS[backend.kind]
    cases = [(c, t) for c in room.spec["cases"] for t in choices_of(room.spec, c)]
    fitting = [(c, t) for c, t in cases if elements(room, c, t) <= most]
    if smallest:
        fitting = [min((p for p in fitting if elements(room, *p)), key=lambda p: elements(room, *p))]
    for case, types in fitting:
        say(out, "case", **examine(library, backend, room, case, types, seed))
    for case, types in cases[:0] if smallest else [p for p in cases if p not in fitting]:
        say(out, "case", case=case, types=types, skipped="too large", untried=True)


def timings(out: TextIO, library: Library, room: Room, seed: int, seconds: float) -> None:
    """Large cases first: they say most when the time is over before all are done."""
    from .measure import Bench

    until = time.monotonic() + seconds

    bench = Bench(library, room, seed)
    say(out, "card", **bench.card)
    types, _ = bench_types(room.spec)
    cases = sorted(room.spec.get("bench", []), key=lambda case: -elements(room, case, types))
    for case in cases:
        if time.monotonic() > until:
            break
        values = build(room, case, types, seed)
        floor = floor_of(room.spec, values)
        say(out, "timing", case=case, types=types, bytes=floor.bytes, **bench.time(values, floor))


def main(argv: list[str]) -> int:
    op, library_path, kind, seed, result, mode, seconds, most = argv
    backend = backend_named(kind)
    library = Library(Path(library_path))
    room = Room(KERNELS / op)
    with Path(result).open("a") as out:
        say(out, "device", **backend.describe())
        if mode == "time":
            timings(out, library, room, int(seed), float(seconds))
        else:
            correctness(out, library, backend, room, int(seed), mode == "smallest", int(most))
        say(out, "end")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
