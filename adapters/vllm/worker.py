"""The worker extension: what `collective_rpc` asks of a rank. Pass `--worker-extension-cls` with this class.

vLLM runs these between two steps, on the worker's own thread, in the same order on every rank: that makes a commit a
step boundary. Arguments and results are plain maps and lists, so that they travel to other processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from opswap.adapters.vllm import calibration, report
from opswap.adapters.vllm.context import CONTEXT
from opswap.adapters.vllm.state import STATE

Answer = dict[str, Any]
_collectors: list[calibration.Collector] = []  # of this process: one while it collects


@cache
def rank_switch():
    """This process's side of a switch: one, because what it switches is the library's state of this process."""
    import opswap
    from opswap.ipc.rank import RankSwitch

    return RankSwitch(opswap, CONTEXT)


class WorkerExtension:
    """Mixed into vLLM's worker class; every name starts with opswap_, because vLLM refuses a clash."""

    def init_worker_extension(self) -> None:
        """vLLM's hook after the device is set up: from here on calls are recorded with this rank."""
        CONTEXT.rank = self.rank

    def opswap_prepare(
        self, epoch: int, changes: Mapping[str, str], build_digest: str, op_versions: Mapping[str, int]
    ) -> Answer:
        if not STATE.registered:
            return {"rank": self.rank, "ok": False, "code": "OPSWAP_E_UNUSABLE", "reason": report.plugin_trouble(STATE)}
        if reason := self._opswap_mid_step():
            return {"rank": self.rank, "ok": False, "code": "OPSWAP_E_BUSY", "reason": reason}
        return rank_switch().prepare(epoch, changes, build_digest, op_versions)

    def opswap_commit(self, epoch: int) -> Answer:
        return rank_switch().commit(epoch)

    def opswap_abort(self, epoch: int) -> Answer:
        return rank_switch().abort(epoch)

    def opswap_status(self) -> Answer:
        return rank_switch().status()

    def opswap_ops(self) -> Answer:
        return rank_switch().ops()

    def opswap_why(self, op: str) -> Answer:
        return rank_switch().why(op)

    def opswap_reset_stats(self) -> None:
        import opswap

        opswap.reset_stats()

    def opswap_trace_start(self, capacity: int) -> None:
        """Keeps the last `capacity` op calls of this rank; 0 stops."""
        import opswap

        opswap.trace_start(capacity)

    def opswap_trace(self, after: int = 0) -> list[Answer]:
        """Recorded calls: {sequence, step, epoch, rank, op, impl}, oldest first."""
        import opswap

        return opswap.trace_read(after)

    def opswap_report(self) -> Answer:
        """What the doctor wants to know of this rank."""
        return report.of_worker(self)

    def opswap_calibration_start(self) -> None:
        """From here on the inputs of linear layers are measured."""
        if _collectors:
            raise calibration.CalibrationRefused("opswap: this engine is already collecting; stop that first")
        _collectors.append(calibration.start(self))

    def opswap_calibration_stop(self, out: str) -> Answer:
        """Writes what was measured since start."""
        if not _collectors:
            raise calibration.CalibrationRefused("opswap: this engine is not collecting; call opswap_calibration_start")
        tensors, tokens = _collectors.pop().stop()
        model = calibration.model_digest(calibration.folder_of(self.model_config.model))
        calibration.write(Path(out), tensors, tokens, model)
        return {"rank": self.rank, "tokens": tokens, "tensors": len(tensors)}

    def _opswap_mid_step(self) -> str | None:
        """Sampling still belongs to the step whose forward has run: no switch between the two."""
        runner = getattr(self, "model_runner", None)
        if getattr(runner, "execute_model_state", None) is None:
            return None
        return "the rank is between the forward and the sampling of a step; pipelined scheduling is not supported"
