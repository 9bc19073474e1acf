"""A plugin of SGLang's for tests of `opswap bisect`: wrong kernels in every process that has ops."""

from __future__ import annotations

from opswap.adapters.sglang import framework, plugin
from planted_kernels import plant


def register() -> None:
    plugin.register()  # whichever of the two SGLang calls first
    if not plugin.detokenizes():
        plant(framework)
