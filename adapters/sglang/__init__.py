"""opswap inside SGLang: entry point, seams and the live switch.

Importing this package imports neither SGLang nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opswap.adapters.common.offline import Attached

__all__ = ["attach"]


def attach(engine: object, name: str) -> Attached:
    """Gives a `sglang.Engine` object an agent of its own, so that `opswap use` reaches it; see `offline.attach`."""
    from opswap.adapters.sglang.offline import attach as attach_offline

    return attach_offline(engine, name)
