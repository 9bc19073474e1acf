"""A plugin of the tests: an implementation that visibly changes tokens, and ranks that refuse, sleep, tell their steps.

`SGLANG_PLUGINS=opswap,opswap_loud`, with this folder on PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import opswap

LOUD = "loud"
#: Where a rank that reports leaves what its steps ran, for servers, whose agent does not hand out traces.
STEPS = os.environ.get("OPSWAP_LOUD_STEPS")


def negated(out, x) -> None:
    """silu_and_mul with the wrong sign: no token survives it."""
    import torch

    half = x.shape[-1] // 2
    out.copy_(-torch.nn.functional.silu(x[..., :half]) * x[..., half:])


def register() -> None:
    from opswap import torch_ops
    from opswap.adapters.sglang import plugin, scheduler

    plugin.register()  # whichever of the two SGLang calls first
    if plugin.detokenizes():
        return
    torch_ops.register_impl("silu_and_mul", LOUD, negated)
    scheduler.make_rank = _loud_rank(scheduler.SchedulerRank)


def calls_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """A rank's answer to `opswap_steps` as a trace, in which every call of a step and epoch stands once."""
    return [
        {"rank": answer["rank"], "step": step, "epoch": epoch, "op": op, "impl": impl}
        for step, epoch, kind in answer["rows"]
        for op, impl in answer["kinds"][kind]
    ]


def _loud_rank(base: type) -> type:
    class LoudRank(base):
        refusal: str | None = None

        def __init__(self, scheduler: Any) -> None:
            super().__init__(scheduler)
            if STEPS:
                opswap.trace_start(1 << 21)

        def opswap_report(self) -> dict[str, Any]:
            if STEPS:
                calls = calls_of(self.opswap_steps())
                Path(STEPS, f"steps-{os.getpid()}.json").write_text(json.dumps(calls))
            return super().opswap_report()

        def opswap_prepare(self, *args: Any) -> dict[str, Any]:
            if self.refusal is None:
                return super().opswap_prepare(*args)
            return {"rank": self.rank, "ok": False, "code": "OPSWAP_E_BUSY", "reason": self.refusal}

        def opswap_plant(self, rank: int, refusal: str | None) -> None:
            if rank == self.rank:
                self.refusal = refusal

        def opswap_sleep(self, seconds: float) -> None:
            """Holds the rank up, as a long step does."""
            time.sleep(seconds)

        def opswap_steps(self) -> dict[str, Any]:
            """What ran, once for each step and epoch, in a form that is small enough to send: see `calls_of`."""
            ran: dict[tuple[int, int], set[tuple[str, str]]] = {}
            after = 0
            while page := opswap.trace_read(after):
                after = page[-1]["sequence"]
                for call in page:
                    ran.setdefault((call["step"], call["epoch"]), set()).add((call["op"], call["impl"]))
            kinds = sorted({tuple(sorted(calls)) for calls in ran.values()})
            rows = [[*when, kinds.index(tuple(sorted(calls)))] for when, calls in ran.items()]
            return {"rank": self.rank, "ok": True, "kinds": kinds, "rows": rows}

    return LoudRank
