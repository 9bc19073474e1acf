"""What the ops cannot serve is refused, with the seam and what to change, unless the user lets the engine serve it."""

from __future__ import annotations

import os
from typing import NoReturn

from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.trtllm.adapter import ADAPTER
from opswap.adapters.trtllm.probe import STOCK


def refuse(seam: str, reason: str) -> NoReturn:
    raise AdapterRefused(
        f"opswap: seam {seam}: its ops do not offer {reason}; {ADAPTER.seams.skip_env}={seam} leaves the seam to "
        f"{ADAPTER.engine}, and {STOCK}=1 does so where it has to"
    )


def stays(seam: str, reason: str | None) -> bool:
    """Whether a layer or step stays with the engine's own kernel, which it may only where the user let it; counted."""
    if reason is None:
        return False
    if os.environ.get(STOCK) != "1":
        refuse(seam, reason)
    ADAPTER.state.bypass(seam, reason)
    return True
