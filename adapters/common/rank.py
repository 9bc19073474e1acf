"""A rank's side: the methods that its agent calls, and how a rank answers where the engine's broadcast returns nothing.

Arguments and results are plain maps and lists, so that they travel to other processes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from opswap.adapters.common import report
from opswap.adapters.common.adapter import Adapter
from opswap.ipc.answers import AnswerSender, Ticket, answer_of
from opswap.ipc.direct_line import RankLine
from opswap.ipc.rank import RankSwitch
from opswap.ipc.rank_candidates import RankCandidates
from opswap.ipc.watch import RankWatch

Answer = dict[str, Any]
#: Changes what a step runs, so it waits for the boundary between two steps; all else may be served at any time.
AT_STEP_BOUNDARY = ("commit",)

#: The open line of each adapter in this process.
_lines: dict[Adapter, RankLine] = {}


@cache
def rank_switch(adapter: Adapter) -> RankSwitch:
    """This process's side of a switch: one, because what it switches is the library's state of this process."""
    import opswap

    return RankSwitch(opswap, adapter.context)


@cache
def rank_candidates(rank: int) -> RankCandidates:
    """What was registered in this process: one, like the library."""
    import opswap

    return RankCandidates(opswap, rank)


def _open_line(methods: RankMethods, engine: str, token: str) -> None:
    rank_switch(methods.opswap_adapter)  # made once, before two threads ask for it

    def run(method: str, args: tuple[Any, ...]) -> Answer:
        answer: Answer = getattr(methods, f"opswap_{method}")(*args)
        return answer

    if earlier := _lines.pop(methods.opswap_adapter, None):
        earlier.close()
    _lines[methods.opswap_adapter] = RankLine(engine, token, methods.rank, run)


class RankMethods:
    """What every rank answers. Mixed into an engine's worker class, or used alone; every name starts with opswap_, so
    that no name of the engine's is hidden."""

    opswap_adapter: Adapter
    rank: int

    def opswap_listen(self, engine: str, token: str) -> Answer:
        """Opens the direct line to the agent of `engine`, and ends one to an earlier agent."""
        _open_line(self, engine, token)
        return {"rank": self.rank, "ok": True}

    def opswap_prepare(
        self,
        epoch: int,
        changes: dict[str, str],
        build_digest: str,
        op_versions: dict[str, int],
        plans: str | None = None,
    ) -> Answer:
        state = self.opswap_adapter.state
        if not state.registered:
            return {"rank": self.rank, "ok": False, "code": "OPSWAP_E_UNUSABLE", "reason": state.trouble}
        return rank_switch(self.opswap_adapter).prepare(epoch, changes, build_digest, op_versions, plans)

    def opswap_mid_step(self) -> str | None:
        """Why no commit may happen here; for engines whose calls can arrive in the middle of a step."""
        return None

    def opswap_commit(self, epoch: int) -> Answer:
        if reason := self.opswap_mid_step():
            return {"rank": self.rank, "ok": False, "code": "OPSWAP_E_BUSY", "reason": reason}
        return rank_switch(self.opswap_adapter).commit(epoch)

    def opswap_abort(self, epoch: int) -> Answer:
        return rank_switch(self.opswap_adapter).abort(epoch)

    def opswap_status(self) -> Answer:
        return rank_switch(self.opswap_adapter).status()

    def opswap_ops(self) -> Answer:
        return rank_switch(self.opswap_adapter).ops()

    def opswap_why(self, op: str) -> Answer:
        return rank_switch(self.opswap_adapter).why(op)

    def opswap_report(self) -> Answer:
        """What the doctor wants to know of this rank."""
        return report.of_rank(self.opswap_adapter, self.rank)

    def opswap_shadow_start(self, op: str, control: str, candidate: str, how: Answer) -> Answer:
        return self._opswap_watch.shadow_start(op, control, candidate, how)

    def opswap_shadow_stop(self, op: str, salt: int | None = None) -> Answer:
        return self._opswap_watch.shadow_stop(op, salt)

    def opswap_shadow_status(self, op: str) -> Answer:
        return self._opswap_watch.shadow_status(op)

    def opswap_shadow_read(self, op: str, after: list[int], most: int) -> Answer:
        return self._opswap_watch.shadow_read(op, after, most)

    def opswap_record_start(self, op: str, how: Answer) -> Answer:
        return self._opswap_watch.record_start(op, how)

    def opswap_record_stop(self, op: str, salt: int | None = None) -> Answer:
        return self._opswap_watch.record_stop(op, salt)

    def opswap_record_status(self, op: str) -> Answer:
        return self._opswap_watch.record_status(op)

    def opswap_watch_stop(self, ops: list[str]) -> Answer:
        return self._opswap_watch.watch_stop(ops)

    def opswap_register(self, row: Answer, check_only: bool) -> Answer:
        return rank_candidates(self.rank).register(row, check_only)

    def opswap_dispatch(self, ops: list[str]) -> Answer:
        return rank_candidates(self.rank).dispatch(ops)

    @property
    def _opswap_watch(self) -> RankWatch:
        import opswap

        return RankWatch(opswap, self.rank)

    def opswap_reset_stats(self) -> None:
        import opswap

        opswap.reset_stats()

    def opswap_trace_start(self, capacity: int) -> None:
        """Keeps the last `capacity` op calls of this rank; 0 stops."""
        import opswap

        opswap.trace_start(capacity)

    def opswap_trace(self, after: int = 0) -> list[Answer]:
        """Recorded calls as opswap.trace_read gives them, oldest first."""
        import opswap

        return opswap.trace_read(after)


class AnsweringRank:
    """The rank of an engine whose broadcast returns nothing. The engine's loop hands it what was broadcast, and tells
    it of the boundaries between steps."""

    def __init__(self, methods: RankMethods) -> None:
        self._methods = methods
        self._sender = AnswerSender()
        self._waiting: list[tuple[str, Ticket, tuple[Any, ...]]] = []

    def receive(self, method: str, args: tuple[Any, ...]) -> None:
        """Runs a call and sends its answer; a commit waits for the next step boundary."""
        ticket = Ticket(*args[0])
        if method in AT_STEP_BOUNDARY:
            self._waiting.append((method, ticket, args[1:]))
        else:
            self._sender.send(ticket, self._run(method, args[1:]))

    def step_boundary(self) -> None:
        """To be called between any two steps, and while the engine is idle."""
        waiting, self._waiting = self._waiting, []
        for method, ticket, args in waiting:
            self._sender.send(ticket, self._run(method, args))

    def close(self) -> None:
        self._sender.close()

    def _run(self, method: str, args: tuple[Any, ...]) -> Answer:
        return answer_of(self._methods.rank, method, lambda: getattr(self._methods, f"opswap_{method}")(*args))
