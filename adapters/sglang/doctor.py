"""Is opswap really in use in this SGLang? SGLang logs plugin errors and hooks that fail; this says so.

`engine_checks` judges the reports of a running engine (the agent's verb `doctor`); run as a program, this module
(`python -m opswap.adapters.sglang.doctor`) looks at the installation alone.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata

from opswap.adapters.common import checks, installation
from opswap.adapters.common.checks import Check, Report, check
from opswap.adapters.common.state import PluginState
from opswap.adapters.sglang.adapter import ADAPTER, PLUGINS, STRICT

PLATFORMS = "sglang.srt.platforms"


def engine_checks(state: PluginState, reports: list[Report], cache_pending: bool = False) -> list[Check]:
    """All checks of a running engine, from the server's own record and one report per rank."""
    own = [plugin_check(state, reports), hook_check(reports), layer_check(reports)]
    return [*own, checks.bypass_check(ADAPTER, reports), *checks.engine_checks(ADAPTER, reports, cache_pending)]


def plugin_check(state: PluginState, reports: list[Report]) -> Check:
    """The plugin has to run in every process, before the model is built there."""
    troubles = checks.troubles("server", state, reports)
    if not troubles:
        return check("plugin", "ok", f"active in the server and on {len(reports)} ranks")
    cause = next((c for c in installation_checks() if c["state"] == "fail"), None)
    why = f"; {cause['message']}" if cause else f"; SGLANG_PLUGINS leaves opswap out there, or {STRICT}=0 let it go on"
    remedy = cause["remedy"] if cause else "the same SGLANG_PLUGINS in every process, and look into SGLang's log"
    return check("plugin", "fail", "; ".join(troubles) + why, remedy)


def hook_check(reports: list[Report]) -> Check:
    """Hooks that SGLang only logged as failed."""
    lost = sorted({target for r in reports for target in r["hooks"]})
    if not lost:
        return check("hooks", "ok", "SGLang has put in all of them")
    return check("hooks", "fail", f"not put in: {', '.join(lost)}", "look for 'Failed to apply hooks' in SGLang's log")


def layer_check(reports: list[Report]) -> Check:
    """Layers whose class has a seam and which run SGLang's own code all the same."""
    own = {(name, kinds["own"]) for r in reports for name, kinds in r["layers"].items() if "own" in kinds}
    if not own:
        return check("layers", "ok", "every layer of a class with a seam runs its op")
    told = "; ".join(f"{count} x {name}" for name, count in sorted(own))
    late = " A class of which no layer runs the op was built before the plugin came, is compiled, or has a forward of "
    remedy = f"nothing to do where the op does not offer it (see bypassed layers).{late}its own"
    return check("layers", "warn", f"run SGLang's own code: {told}", remedy)


def installation_checks() -> list[Check]:
    """What can be told without an engine: versions, entry points, environment, the library."""
    return [*installation.installation_checks(ADAPTER), environment_check(), platform_check()]


def environment_check() -> Check:
    """SGLANG_PLUGINS, read as SGLang reads it: blanks around a name are dropped, and an empty list names all."""
    named = os.environ.get("SGLANG_PLUGINS", "")
    names = [name.strip() for name in named.split(",") if name.strip()]
    if not names:
        return check("SGLANG_PLUGINS", "ok", "not set: SGLang loads every plugin that is installed")
    if "opswap" not in names:
        what = f"{named!r} leaves opswap out, so nothing of it is loaded"
        return check("SGLANG_PLUGINS", "fail", what, "add opswap to SGLANG_PLUGINS")
    known = {point.name for group in (PLUGINS, PLATFORMS) for point in metadata.entry_points(group=group)}
    unknown = [name for name in names if name not in known]
    if unknown:
        what = f"names no plugin: {', '.join(unknown)}"
        return check("SGLANG_PLUGINS", "warn", what, "correct the name; SGLang ignores it")
    return check("SGLANG_PLUGINS", "ok", named)


def platform_check() -> Check:
    """On a platform of another package SGLang runs that platform's layers, whatever plugins say."""
    found = {point.name: point.value for point in metadata.entry_points(group=PLATFORMS)}
    chosen = os.environ.get("SGLANG_PLATFORM", "")
    if not found and not chosen:
        return check("platform", "ok", "SGLang's own")
    told = ", ".join(f"{name} ({value})" for name, value in found.items()) or chosen
    return check(
        "platform", "warn", f"a platform of another package may be active: {told}", "its layers go past opswap"
    )


def main(argv: list[str] | None = None) -> int:
    return installation.main(ADAPTER, installation_checks, "opswap.adapters.sglang.doctor", argv)


if __name__ == "__main__":
    sys.exit(main())
