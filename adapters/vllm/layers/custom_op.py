"""What all replaced vLLM CustomOps share: when they are enabled, and how a layer is left to vLLM."""

from __future__ import annotations

from opswap.adapters.vllm.adapter import ADAPTER

from vllm.config import get_cached_compilation_config


class LiveOp:
    """Mixin put before a CustomOp class.

    vLLM turns custom ops off under inductor, which would compile the stock layer and leave nothing to switch. A live op
    is therefore enabled unless the user names it (`-RMSNorm` in `custom_ops`): then it is static, and the compiler
    may fuse vLLM's own code.
    """

    name: str

    @classmethod
    def enabled(cls) -> bool:
        return f"-{cls.name}" not in get_cached_compilation_config().custom_ops

    def leave_to_vllm(self, reason: str) -> None:
        """This layer needs what the op does not offer: it runs vLLM's forward, and the report counts it."""
        ADAPTER.state.bypass(type(self).name, reason)
        self._forward_method = self.forward_native
