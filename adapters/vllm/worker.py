"""The worker extension: what `collective_rpc` can ask of a rank. Pass `--worker-extension-cls` with this class."""

from __future__ import annotations


class WorkerExtension:
    """Mixed into vLLM's worker class; every name starts with opswap_, because vLLM refuses a clash."""

    def opswap_ops(self) -> dict:
        import opswap

        return opswap.stats()

    def opswap_use_now(self, op: str, impl: str) -> str:
        import opswap

        return opswap.use(op, impl)
