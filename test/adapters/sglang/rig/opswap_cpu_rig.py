"""Lets a stock SGLang run without a GPU on the path that a GPU takes. Part of the tests, not of the product.

A plugin of its own, `SGLANG_PLUGINS=opswap_cpu_rig,opswap`, with this folder on PYTHONPATH.
"""

from __future__ import annotations

from typing import Any


def register() -> None:
    """Of SGLang's rotary layers the constructor, and of its process groups the GPU's part, ask for what is not here."""
    import sglang.srt.layers.rotary_embedding.base as rotary
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    rotary._is_cpu = True  # else the constructor imports kernels of vLLM's
    target = "sglang.srt.distributed.parallel_state.init_model_parallel_group"
    HookRegistry.register(target, _without_nccl, HookType.AROUND)


def _without_nccl(original: Any, *args: Any, **options: Any) -> Any:
    return original(*args, **{**options, "use_pynccl": False, "use_custom_allreduce": False})
