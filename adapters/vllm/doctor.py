"""Is opswap really in use in this vLLM? vLLM swallows plugin errors and may switch custom ops off; this says so.

`engine_checks` judges the reports of a running engine (the agent's verb `doctor`); run as a program, this module
(`python -m opswap.adapters.vllm.doctor`) looks at the installation alone.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata

from opswap.adapters.common import checks, installation
from opswap.adapters.common.checks import Check, Report, check
from opswap.adapters.common.state import PluginState
from opswap.adapters.vllm.adapter import ADAPTER

#: What a vLLM for CUDA says on a CPU when our stand-ins for its kernels are not loaded.
WITHOUT_PLUGIN = "'_C' object has no attribute 'init_cpu_memory_env'"
_OUR_KERNELS = {kernel for row in ADAPTER.seams.rows for kernel in row.kernels}


def engine_checks(state: PluginState, reports: list[Report], cache_pending: bool = False) -> list[Check]:
    """All checks of a running engine, from the API server's own record and one report per rank."""
    own = [plugin_check(state, reports), custom_op_check(reports), bypass_check(reports)]
    return own + checks.engine_checks(ADAPTER, reports, cache_pending)


def plugin_check(state: PluginState, reports: list[Report]) -> Check:
    """The plugin has to run in every process; what vLLM swallowed is found again by loading the entry point here."""
    troubles = checks.troubles("API server", state, reports)
    if not troubles:
        return check("plugin", "ok", f"active in the API server and on {len(reports)} ranks")
    cause = next((c for c in installation_checks() if c["state"] == "fail"), None)
    why = f"; {cause['message']}" if cause else "; vLLM swallowed an import error, or VLLM_PLUGINS leaves opswap out"
    return check("plugin", "fail", "; ".join(troubles) + why, cause["remedy"] if cause else _plugins_remedy())


def _plugins_remedy() -> str:
    named = os.environ.get("VLLM_PLUGINS")
    # As vLLM reads it: blanks belong to a name, and an empty setting names no plugin.
    if named is not None and "opswap" not in named.split(","):
        return f"VLLM_PLUGINS is {named!r}: add opswap"
    return "look for 'Failed to load plugin opswap' in the server's log"


def custom_op_check(reports: list[Report]) -> Check:
    """Custom ops that vLLM compiled away: their layers cannot be switched."""
    ours = live_class_names()
    off = sorted({name for r in reports for name in r["disabled"] if name in ours})
    if not off:
        return check("custom ops", "ok", "all replaced layers call their op")
    compiled = any(r["compiled"] for r in reports)
    how = "the compiler fused vLLM's own code instead" if compiled else "vLLM's own code runs instead"
    flags = ",".join(f"-{name}" for name in off)
    return check(
        "custom ops",
        "fail",
        f"disabled: {', '.join(off)}; {how}, and a switch of their ops has no effect",
        f"take {flags} out of --compilation-config custom_ops",
    )


def live_class_names() -> set[str]:
    """The names under which vLLM counts the layers that the adapter replaced, read from vLLM's own registry."""
    from vllm.model_executor.custom_op import op_registry_oot

    return {name for name, cls in op_registry_oot.items() if cls.__module__.startswith(f"{__package__}.")}


def bypass_check(reports: list[Report]) -> Check:
    """Layers that the model has and vLLM's own code runs."""
    kernels = reports[0]["kernels"] if reports else {}
    others = {name: count for name, count in kernels.items() if name not in _OUR_KERNELS}
    if others:
        layers = "; ".join(f"{count} x {name}" for name, count in others.items())
        remedy = f"restart with VLLM_DISABLED_KERNELS={','.join(others)}"
        return check("bypassed layers", "warn", f"FP8 linear layers run vLLM's own kernels: {layers}", remedy)
    return checks.bypass_check(ADAPTER, reports)


def installation_checks() -> list[Check]:
    """What can be told without an engine: versions, entry points, environment, the library."""
    return [*installation.installation_checks(ADAPTER), environment_check()]


def environment_check() -> Check:
    """VLLM_PLUGINS, whose names vLLM compares letter by letter."""
    named = os.environ.get("VLLM_PLUGINS")
    if named is None:
        return check("VLLM_PLUGINS", "warn", "not set: ops are active, but no agent will start", "VLLM_PLUGINS=opswap")
    names = named.split(",")
    if "opswap" not in names:
        what = (
            f'{named!r} leaves opswap out, so nothing of it is loaded; on a CPU vLLM then ends with "{WITHOUT_PLUGIN}"'
        )
        return check("VLLM_PLUGINS", "fail", what, "add opswap to VLLM_PLUGINS")
    points = metadata.entry_points()
    groups = [group for group in points.groups if group.startswith("vllm.")]
    known = {point.name for group in groups for point in points.select(group=group)}
    unknown = [name for name in names if name not in known]
    if unknown:
        return check(
            "VLLM_PLUGINS", "warn", f"names no plugin: {', '.join(unknown)}", "correct the name; vLLM ignores it"
        )
    return check("VLLM_PLUGINS", "ok", named)


def main(argv: list[str] | None = None) -> int:
    return installation.main(ADAPTER, installation_checks, "opswap.adapters.vllm.doctor", argv)


if __name__ == "__main__":
    sys.exit(main())
