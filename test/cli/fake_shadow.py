"""A rank whose shadows see calls of a made-up engine: so many a second, and a candidate as it is planted."""

from __future__ import annotations

import math
import random
import time
from typing import Any

from ipc_fakes import FakeError, FakeNative

BUCKET = "T16 H1024 bfloat16"
#: Calls that are compared in a second.
RATE = 1000
#: How much slower a candidate is; the others are as fast as each other.
SLOWER = {"ref": 0.2}
SAME = {"elements": 10, "differing": 0, "outside": 0, "became_nonfinite": 0, "max_abs": 0.0, "worst": 0.0}


class ShadowNative(FakeNative):
    """FakeNative with shadows. `kind` is `seen`, or `idle` for an engine without traffic."""

    def __init__(self, kind: str, rank: int) -> None:
        super().__init__()
        self.kind, self.rank = kind, rank
        self.shadows: dict[str, dict[str, Any]] = {}
        self.noise = random.Random(7 + rank)

    def shadow_start(self, op: str, control: str, candidate: str, **how: Any) -> None:
        if op in self.shadows and self.shadows[op]["running"]:
            raise FakeError("OPSWAP_E_BUSY", f"a shadow of {op} runs already")
        told = {"op": op, "control": control, "candidate": candidate, "salt": how.get("salt", 1)}
        self.shadows[op] = {**told, "running": True, "ended_by": "", "began": time.monotonic(), "ended": None}

    def shadow_stop(self, op: str) -> None:
        shadow = self._shadow(op)
        if shadow["running"]:
            shadow.update(running=False, ended=time.monotonic())

    def shadow_status(self, op: str) -> dict[str, Any]:
        shadow, seen = self._shadow(op), self._seen(op)
        kept = {key: shadow[key] for key in ("op", "control", "candidate", "salt", "running", "ended_by")}
        buckets = [
            {"bucket": BUCKET, "seen": 2 * seen, "chosen": seen},
            {"bucket": "T1 H1024 bfloat16", "seen": 3, "chosen": 0},
        ]
        counts = {"recorded": seen, "took_ns": 2_000_000 * seen, "seen": 2 * seen, "left_out": {"time": 5}}
        return {**kept, **counts, "buckets": buckets if seen else []}

    def shadow_read(self, op: str, after: int, most: int) -> list[dict[str, Any]]:
        shadow = self._shadow(op)
        last = min(self._seen(op), after + min(most or 1000, 1000))
        return [self._record(shadow, n) for n in range(after + 1, last + 1)]

    def _record(self, shadow: dict[str, Any], n: int) -> dict[str, Any]:
        place = {"sequence": n, "time_ns": time.time_ns(), "rank": self.rank, "step": n, "epoch": 0, "layer": 0}
        slower = math.log1p(SLOWER.get(shadow["candidate"], 0.0) - SLOWER.get(shadow["control"], 0.0))
        times = {"control_ns": self._ns(0.0), "candidate_ns": self._ns(slower)}
        codes = {"control_status": "OPSWAP_OK", "candidate_status": "OPSWAP_OK", "candidate_overran": False}
        return {**place, "bucket": BUCKET, "candidate_first": n % 2 == 0, **times, **codes, **SAME}

    def _ns(self, log: float) -> int:
        return round(1e6 * math.exp(log + self.noise.gauss(0.0, 0.01)))

    def _shadow(self, op: str) -> dict[str, Any]:
        if op not in self.shadows:
            raise FakeError("OPSWAP_E_ARGUMENT", f"{op}: no shadow was started")
        return self.shadows[op]

    def _seen(self, op: str) -> int:
        shadow = self._shadow(op)
        lived = (shadow["ended"] or time.monotonic()) - shadow["began"]
        return int(RATE * lived) if self.kind == "seen" else 0
