"""The converter on a Ray cluster whose nodes see the same files: parts as tasks, and a merge.

Needs the package `ray`. A part whose node dies is run again, and goes on from its journal.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from opswap.errors import missing

try:
    import ray
except ModuleNotFoundError as error:
    raise missing(error, "opswap.converter_ray") from None

from opswap import converter
from opswap.converter import ConvertError, OnEvent, PathLike, Report

#: Runs of one part: the first, and those after a worker died.
ATTEMPTS = 4
#: Time for the process of a worker that died to let go of its part.
LINGER_S = 10.0


def _part(source: str, output: str, index: int, count: int, options: dict[str, Any]) -> int:
    deadline = time.monotonic() + LINGER_S
    while True:
        try:
            converter.run_part(source, output, index, count, **options)
            return index
        except ConvertError as error:
            if error.code != "OPSWAP_E_OUTPUT_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _merge(source: str, output: str, options: dict[str, Any]) -> Report:
    return converter.merge(source, output, **options)


def convert(
    source: PathLike,
    output: PathLike,
    *,
    parts: int,
    cpus: float = 1,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Report:
    """Converts with `parts` Ray tasks and publishes, on the cluster that `ray.init` has joined.

    Args:
        source: what every node sees under this path.
        output: the folder to make, on a file system that all nodes share.
        parts: tasks; more than the cluster can run at once wait their turn.
        cpus: CPUs that each task asks Ray for.
        on_event: called with {"event": "part", "index": i, "parts": n} as each part ends.
        options: those of `opswap.converter.convert`.

    Raises:
        ConvertError: of the first part that fails; the others are cancelled, and a later call resumes them.
    """
    places = str(Path(source).absolute()), str(Path(output).absolute())
    part = ray.remote(num_cpus=cpus, max_retries=ATTEMPTS - 1)(_part)
    waiting = [part.remote(*places, index + 1, parts, options) for index in range(parts)]
    try:
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=1)
            index = ray.get(done[0])
            if on_event is not None:
                on_event({"event": "part", "index": index, "parts": parts})
        return ray.get(ray.remote(num_cpus=cpus)(_merge).remote(*places, options))
    except ray.exceptions.RayTaskError as error:
        for one in waiting:
            ray.cancel(one)
        raise (error.cause if isinstance(error.cause, ConvertError) else error) from None
