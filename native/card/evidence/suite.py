"""Runs workers, one process for each op: all ops are checked, several at once, and timed one after the other."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .report import Outcome, read_outcome

WORKER = f"{__package__}.worker"


@dataclass(frozen=True)
class Plan:
    """What is run, where, and for how long at most."""

    library: Path
    kind: str  # cuda, or emulated
    work: Path  # folder of results and logs
    seconds: float
    op_seconds: float
    seed: int | None = None  # of the random inputs; a fresh one when None
    most_elements: int | None = None  # of a case; as many as the backend bears when None
    environment: dict[str, str] | None = None


class Suite:
    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self.plan, self._say = plan, say
        self.seed = secrets.randbits(31) if plan.seed is None else plan.seed
        self._until = time.monotonic() + plan.seconds

    @property
    def left(self) -> float:
        return self._until - time.monotonic()

    def run(self, op: str, mode: str, seconds: float, under: tuple[str, ...] = ()) -> tuple[Path, str]:
        """Where the worker wrote, and why it ended before its end; it is stopped when it has run half as long again."""
        result = self.plan.work / "results" / f"{op}.{mode}.jsonl"
        result.parent.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        if seconds <= 0:
            return result, f"not started: {self.plan.seconds:.0f} s are over"
        worker = [*under, sys.executable, "-m", WORKER, op, str(self.plan.library), self.plan.kind, str(self.seed)]
        limit = str(self.plan.most_elements or 0)
        return result, self._ended(f"{op}.{mode}", [*worker, str(result), mode, str(seconds * 2 / 3), limit], seconds)

    def _ended(self, name: str, command: list[str], seconds: float) -> str:
        """Why a worker ended before its end, or an empty text."""
        env = {**os.environ, **(self.plan.environment or {})}
        try:
            ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return f"stopped after {seconds:.0f} s"
        if ran.returncode == 0:
            return ""
        last = (ran.stderr.strip() or f"exit code {ran.returncode}").splitlines()[-1]
        (self.plan.work / f"{name}.log").write_text(ran.stdout + ran.stderr)
        return f"ended with {ran.returncode}: {last[:200]}"

    def _check(self, op: str) -> Outcome:
        outcome = read_outcome(op, *self.run(op, "check", min(self.left, self.plan.op_seconds)))
        self._say(f"  {op}: {len(outcome.passed)} passed, {len(outcome.failed)} failed {outcome.ended}".rstrip())
        return outcome

    def check_all(self, ops: list[str]) -> list[Outcome]:
        """References are computed on the host, so several at once."""
        with ThreadPoolExecutor(max(1, min(8, (os.cpu_count() or 1) // 2))) as pool:
            return list(pool.map(self._check, ops))

    def time_all(self, outcomes: list[Outcome]) -> None:
        """One after the other, alone on the card; each gets an equal part of the time that is left."""
        sound = [outcome for outcome in outcomes if outcome.sound]
        for at, outcome in enumerate(sound):
            seconds = self.left / (len(sound) - at)
            timed = read_outcome(outcome.op, *self.run(outcome.op, "time", seconds))
            outcome.card, outcome.timings, outcome.remark = timed.card, timed.timings, timed.ended
            self._say(f"  {outcome.op}: {len(timed.timings)} cases timed {timed.ended}".rstrip())
