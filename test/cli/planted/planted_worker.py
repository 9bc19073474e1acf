"""A worker extension of vLLM's for tests of `opswap bisect`: wrong kernels in every rank."""

from __future__ import annotations

from opswap.adapters.vllm import framework
from opswap.adapters.vllm.worker import WorkerExtension
from planted_kernels import plant


class PlantedExtension(WorkerExtension):
    def init_worker_extension(self) -> None:
        super().init_worker_extension()
        plant(framework)
