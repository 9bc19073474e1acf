"""How many candidates with a fault reach an engine: each is planted, put through quarantine, and asked for.

`npm run bench -- quarantine [--planted 200]`. The engine is a real agent over stand-in ranks in this process; each
candidate runs in a process of its own, on calls that the library has recorded here. One has reached the engine when
`use` takes it; where one ended this process, nothing would be printed. Prints JSON: planted, reached, and by kind how
many were barred, and how many said nothing and were refused for that.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import opswap

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ipc_fakes import FakeRanks, client, engine
from opswap.ipc.quarantine import keeper
from opswap.ipc.watch import RECORDINGS
from planted_candidates import FAULTS, planted

#: Half of it until a call counts as hanging; an import of torch has to fit.
TIMEOUT_MS = 20_000


def record(folder: Path) -> None:
    """Calls of three shapes."""
    folder.mkdir(mode=0o700)
    opswap.record_start("rms_norm", folder, share_of_calls=1.0)
    for rows in (1, 5, 16):
        x = np.random.default_rng(rows).standard_normal((rows, 72)).astype(np.float32)
        opswap.call("rms_norm", np.empty_like(x), x, np.ones(72, np.float32), 1e-5)
    while opswap.record_status("rms_norm")["files"] < 3:
        time.sleep(0.001)
    opswap.record_stop("rms_norm")


def sweep(count: int, folder: Path) -> dict[str, Any]:
    ranks, found = FakeRanks(), defaultdict[str, Counter[str]](Counter)
    runtime = Path(os.environ["OPSWAP_RUNTIME_DIR"])
    with engine(ranks) as agent, client(runtime / "e.sock", 10 * TIMEOUT_MS) as c:
        for number in range(count):
            kind = list(FAULTS)[number % len(FAULTS)]
            row = planted(folder, kind)
            agent.engine.candidates._rows[:] = [row]
            for native in ranks.natives:
                native.impls["rms_norm"][row["name"]] = ""
            answer = c.ask("quarantine", op="rms_norm", impl=row["name"], timeout_ms=TIMEOUT_MS)
            is_barred = answer["ok"] and answer["result"]["result"]["verdict"] == "barred"
            found[kind]["barred" if is_barred else "said nothing"] += 1
            used = c.ask("use", changes=[{"op": "rms_norm", "impl": row["name"]}])
            found[kind]["reached"] += used["ok"]
            c.ask("reset")
    reached = sum(each["reached"] for each in found.values())
    return {"planted": count, "reached": reached, "kinds": {kind: dict(each) for kind, each in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planted", type=int, default=200)
    options = parser.parse_args()
    keeper.MEMORY_BYTES = 1 << 30
    with tempfile.TemporaryDirectory(prefix="ow") as name:
        folder = Path(name)
        os.environ |= {"OPSWAP_RUNTIME_DIR": name, RECORDINGS: str(folder / "recordings")}
        record(folder / "recordings")
        print(json.dumps(sweep(options.planted, folder), indent=2))


if __name__ == "__main__":
    main()
