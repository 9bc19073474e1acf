"""What processes are started with that run beside an engine, where it may use every core."""

from __future__ import annotations

import os

#: What binds a process's first thread, and those of OpenMP, to cores as soon as torch is imported.
_BINDING = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND")


def environment_beside(own: dict[str, str]) -> dict[str, str]:
    """This process's environment and `own`, without what binds threads to cores. vLLM 0.33.0 binds each rank on a CPU
    to cores of its own by GOMP_CPU_AFFINITY, which its engine core hands on: a process that is bound to a rank's core
    waits for it, on Linux 6.18 for minutes."""
    return {name: value for name, value in os.environ.items() if name not in _BINDING} | own
