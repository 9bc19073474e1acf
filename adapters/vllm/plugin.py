"""vLLM's entry point `vllm.general_plugins`: called once in the API server, the engine core and every worker.

Only the standard library is imported here: vLLM swallows an error at import, but not one from the function below.
"""

from __future__ import annotations

from importlib import metadata

from opswap.adapters.vllm.state import STATE


def register() -> None:
    """Registers the ops with torch and installs the seams. Safe to call again; raises when opswap cannot work here."""
    if STATE.registered:
        return
    STATE.begin()
    try:
        _register()
    except Exception as error:
        STATE.error = f"{type(error).__name__}: {error}"
        raise


def _register() -> None:
    from opswap import manifest, torch_ops
    from opswap.adapters.vllm import framework, probe, seams

    from vllm.platforms import current_platform

    STATE.vllm_version = metadata.version("vllm")
    on_cpu = current_platform.is_cpu()
    rows = seams.chosen(on_cpu)
    probe.require(STATE.vllm_version, [seam.name for seam in rows])
    torch_ops.register()
    framework.register([op["op"] for op in manifest()["ops"]])
    for seam in rows:
        seams.install(seam, on_cpu)
