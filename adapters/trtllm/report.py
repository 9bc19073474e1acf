"""How a server proves that it runs opswap's ops: each rank writes what it did into a folder that the user names.

TensorRT-LLM offers a plugin no way to answer questions while it serves, so the ranks tell it without being asked.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from opswap.adapters.common import report
from opswap.adapters.trtllm.adapter import ADAPTER

#: The folder that ranks write their reports to; nothing is written where it is not set.
VARIABLE = "OPSWAP_TRTLLM_REPORT"
EVERY_S = 5.0


def rank() -> int:
    from tensorrt_llm._utils import mpi_rank

    return int(mpi_rank())


def counted(model: Any) -> None:
    """Has the steps of a model counted, and reported at most every few seconds."""
    folder, mine = os.environ.get(VARIABLE), rank()
    forward, due = model.forward, 0.0

    def step(*args: Any, **kwargs: Any) -> Any:
        nonlocal due
        ADAPTER.context.begin_step(mine)
        out = forward(*args, **kwargs)
        if folder and time.monotonic() >= due:
            write(Path(folder), mine)
            due = time.monotonic() + EVERY_S
        return out

    model.forward = step


def write(folder: Path, number: int) -> Path:
    """One file per rank; whole or as it was before."""
    file = folder / f"rank-{number}.json"
    fresh = file.with_suffix(f".{os.getpid()}.tmp")
    fresh.write_text(json.dumps(report.of_rank(ADAPTER, number)), "utf-8")
    fresh.replace(file)
    return file
