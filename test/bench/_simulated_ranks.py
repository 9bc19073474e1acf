"""Ranks in threads of this process, which step all the time, for `ab`: their agent may be anywhere, and may be killed.

They have the state machine and the direct line of real ones; the library is a stand-in. Steps and broadcasts reach all
ranks in one order. Each layer of each rank's step notes its epoch and choice; a step must have one.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opswap.ipc.direct_line import RankLine
from opswap.ipc.rank import RankSwitch

sys.path.insert(0, str(Path(__file__).parents[1]))
from ipc_fakes import FakeContext, FakeNative

LAYERS = 4
WAITING = 4
Answer = dict[str, Any]
Reply = Callable[[Answer], None]


class Steps:
    """What each step ran with, on any rank and layer; `mixed` counts the layers that ran with something else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, tuple[Any, ...]] = {}
        self.mixed = 0
        self.epochs: set[int] = set()

    def note(self, step: int, *what: Any) -> None:
        with self._lock:
            self.mixed += self._seen.setdefault(step, what) != what
            self.epochs.add(what[0])
            self._seen.pop(step - 1000, None)


class SimulatedRank(threading.Thread):
    def __init__(self, rank: int, steps: Steps) -> None:
        super().__init__(daemon=True)
        self.native, self.context = FakeNative(), FakeContext(rank)
        self.switch = RankSwitch(self.native, self.context)
        self.inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._steps = steps
        self._line: RankLine | None = None

    def run(self) -> None:
        while True:
            kind, *message = self.inbox.get()
            if kind == "end":
                return
            if kind == "step":
                self._step(*message)
            else:
                method, args, reply = message
                reply(self._answer(method, args))

    def _step(self, number: int) -> None:
        self.context.step = number
        for _ in range(LAYERS):
            self._steps.note(number, self.context.epoch, *sorted(self.native.chosen.items()))
            time.sleep(0)

    def _answer(self, method: str, args: tuple[Any, ...]) -> Answer:
        if method == "listen":
            if self._line is not None:
                self._line.close()
            self._line = RankLine(*args, self.context.rank, self._answer)
            return {"rank": self.context.rank, "ok": True}
        answer: Answer = getattr(self.switch, method)(*args)
        return answer


class World:
    """All ranks of an engine, and the thread that has them step."""

    def __init__(self, size: int) -> None:
        self.steps = Steps()
        self.ranks = [SimulatedRank(rank, self.steps) for rank in range(size)]
        self._order = threading.Lock()
        self._running = True
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        for thread in (*self.ranks, self._feeder):
            thread.start()

    def broadcast(self, method: str, args: tuple[Any, ...], whole: Callable[[list[Answer]], None]) -> None:
        """Has every rank run a method between two steps; `whole` is called with all answers, on a rank's thread."""
        answers: list[Answer] = []
        lock = threading.Lock()

        def reply(answer: Answer) -> None:
            with lock:
                answers.append(answer)
                is_whole = len(answers) == len(self.ranks)
            if is_whole:
                whole(answers)

        self._send("call", method, args, reply)

    def end(self) -> None:
        self._running = False
        self._feeder.join()
        self._send("end")
        for rank in self.ranks:
            rank.join()

    def _feed(self) -> None:
        number = 0
        while self._running:
            if max(rank.inbox.qsize() for rank in self.ranks) < WAITING:
                number += 1
                self._send("step", number)
            time.sleep(0.0005)

    def _send(self, *message: Any) -> None:
        with self._order:  # one order of steps and broadcasts on all ranks
            for rank in self.ranks:
                rank.inbox.put(message)
