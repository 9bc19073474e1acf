"""The worker extension: what `collective_rpc` asks of a rank. Pass `--worker-extension-cls` with this class.

vLLM runs these between two steps, on the worker's own thread, in the same order on every rank: that makes a commit a
step boundary.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from opswap.adapters.common.calibration import Recording, folder_of
from opswap.adapters.common.rank import RankMethods
from opswap.adapters.vllm import calibration, report
from opswap.adapters.vllm.adapter import ADAPTER
from opswap.adapters.vllm.graphs import graphs_of

Answer = dict[str, Any]
_recording = Recording()


class WorkerExtension(RankMethods):
    """Mixed into vLLM's worker class, which refuses a clash of names."""

    opswap_adapter = ADAPTER

    def init_worker_extension(self) -> None:
        """vLLM's hook after the device is set up: from here on calls are recorded with this rank, and switches know of
        its graphs."""
        ADAPTER.context.rank = self.rank
        ADAPTER.context.graphs = partial(graphs_of, self)

    def opswap_report(self) -> Answer:
        return report.of_worker(self)

    def opswap_mid_step(self) -> str | None:
        """Sampling still belongs to the step whose forward has run: no switch between the two."""
        runner = getattr(self, "model_runner", None)
        if getattr(runner, "execute_model_state", None) is None:
            return None
        return "the rank is between the forward and the sampling of a step; pipelined scheduling is not supported"

    def opswap_calibration_start(self) -> None:
        """From here on the inputs of linear layers are measured."""
        _recording.start(lambda: calibration.start(self))

    def opswap_calibration_stop(self, out: str) -> Answer:
        """Writes what was measured since start."""
        return {"rank": self.rank, **_recording.stop(Path(out), folder_of(self.model_config.model))}
