"""Is opswap really in use in this vLLM? vLLM swallows plugin errors and may switch custom ops off; this says so.

`engine_checks` judges the reports of a running engine (the agent's verb `doctor`); run as a program, this module
(`python -m opswap.adapters.vllm.doctor`) looks at the installation alone. A check is
{name, state: ok | warn | fail, message, remedy}.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import metadata
from typing import Any

from opswap.adapters.vllm import probe, seams
from opswap.adapters.vllm.report import plugin_trouble
from opswap.adapters.vllm.state import STATE, PluginState

Check = dict[str, str]
Report = dict[str, Any]
GENERAL, ENDPOINT = "vllm.general_plugins", "vllm.endpoint_plugins"
REINSTALL = "install opswap again: `pip install --force-reinstall .` in its checkout, or `npm run build` there"
#: What a vLLM for CUDA says on a CPU when our stand-ins for its kernels are not loaded.
WITHOUT_PLUGIN = "'_C' object has no attribute 'init_cpu_memory_env'"


def check(name: str, state: str, message: str, remedy: str = "") -> Check:
    return {"name": name, "state": state, "message": message, "remedy": remedy}


_OURS = {kernel for row in seams.SEAMS for kernel in row.kernels}

# -- a running engine --------------------------------------------------------------------------------------------


def engine_checks(api_server: PluginState, reports: list[Report], cache_pending: bool = False) -> list[Check]:
    """All checks of a running engine, from the API server's own record and one report per rank."""
    return [
        plugin_check(api_server, reports),
        digest_check(reports),
        seam_check(reports),
        custom_op_check(reports),
        use_check(reports),
        bypass_check(reports),
        device_check(reports),
        cache_check(cache_pending),
    ]


def plugin_check(api_server: PluginState, reports: list[Report]) -> Check:
    """The plugin has to run in every process; what vLLM swallowed is found again by loading the entry point here."""
    troubles = [f"rank {r['rank']}: {r['trouble']}" for r in reports if r["trouble"]]
    if trouble := plugin_trouble(api_server):
        troubles.insert(0, f"API server: {trouble}")
    if not troubles:
        return check("plugin", "ok", f"active in the API server and on {len(reports)} ranks")
    cause = next((c for c in installation_checks() if c["state"] == "fail"), None)
    why = f"; {cause['message']}" if cause else "; vLLM swallowed an import error, or VLLM_PLUGINS leaves opswap out"
    return check("plugin", "fail", "; ".join(troubles) + why, cause["remedy"] if cause else _plugins_remedy())


def plugin_names(setting: str) -> list[str]:
    """As vLLM reads VLLM_PLUGINS: blanks belong to a name, and an empty setting names no plugin."""
    return setting.split(",")


def _plugins_remedy() -> str:
    named = os.environ.get("VLLM_PLUGINS")
    if named is not None and "opswap" not in plugin_names(named):
        return f"VLLM_PLUGINS is {named!r}: add opswap"
    return "look for 'Failed to load plugin opswap' in the server's log"


def digest_check(reports: list[Report]) -> Check:
    broken = [f"rank {r['rank']}: {r['version']['error']}" for r in reports if "error" in r["version"]]
    if broken:
        return check("library", "fail", "; ".join(broken), REINSTALL)
    digests = {r["version"]["build_digest"] for r in reports}
    if len(digests) == 1:
        return check("library", "ok", f"one build on every rank ({digests.pop()[:16]})")
    told = ", ".join(f"rank {r['rank']}: {r['version']['build_digest'][:16]}" for r in reports)
    return check("library", "fail", f"ranks run different builds ({told})", "install one version and restart")


def seam_check(reports: list[Report]) -> Check:
    """Every row of the seam table is installed, or left out for a stated reason."""
    told = {r["rank"]: set(r["plugin"]["installed"]) | set(r["plugin"]["skipped"]) for r in reports}
    lost = {row.name for row in seams.SEAMS for rank in told if row.name not in told[rank]}
    if lost:
        return check("seams", "fail", f"not installed: {', '.join(sorted(lost))}", "restart, and read the server's log")
    skipped = reports[0]["plugin"]["skipped"] if reports else {}
    by_user = [name for name, reason in skipped.items() if seams.SKIP_ENV in reason]
    if by_user:
        return check(
            "seams", "warn", f"left to vLLM: {', '.join(by_user)}", f"unset {seams.SKIP_ENV} to take them back"
        )
    return check("seams", "ok", ", ".join(reports[0]["plugin"]["installed"]) if reports else "no rank")


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


def use_check(reports: list[Report]) -> Check:
    """Counters prove that an installed seam is really on the path of a token."""
    if not reports or all(r["step"] == 0 for r in reports):
        return check("in use", "warn", "no step has run yet", "send one request and ask again")
    idle = sorted({row.name for r in reports for row in seams.SEAMS if _is_idle(row, r)})
    if not idle:
        return check("in use", "ok", f"every installed seam was used within {reports[0]['step']} steps")
    return check(
        "in use",
        "warn",
        f"installed but never called: {', '.join(idle)}",
        "the model may have no such layer; if it has, a cached compilation may be stale: VLLM_DISABLE_COMPILE_CACHE=1",
    )


def _is_idle(row: seams.Seam, report: Report) -> bool:
    if row.kernels and not set(row.kernels) & set(report["kernels"]):
        return False  # no layer of this model is of that kind
    if row.name == "cpu_shims" or row.name not in report["plugin"]["installed"] or report["rank"] != 0:
        return False
    return not any(report["calls"].get(op, 0) for op in row.ops)


def bypass_check(reports: list[Report]) -> Check:
    told = reports[0]["plugin"]["bypassed"] if reports else {}
    others = {name: count for name, count in (reports[0]["kernels"] if reports else {}).items() if name not in _OURS}
    if others:
        layers = "; ".join(f"{count} x {name}" for name, count in others.items())
        remedy = f"restart with VLLM_DISABLED_KERNELS={','.join(others)}"
        return check("bypassed layers", "warn", f"FP8 linear layers run vLLM's own kernels: {layers}", remedy)
    if not told:
        return check("bypassed layers", "ok", "none")
    layers = "; ".join(f"{count} x {what}" for what, count in told.items())
    return check(
        "bypassed layers", "warn", f"run vLLM's own code: {layers}", "nothing to do: the ops do not offer this"
    )


def device_check(reports: list[Report]) -> Check:
    """A machine without a usable CUDA device is no failure: the CPU implementations serve it."""
    status = {r["version"].get("device_status", "unknown") for r in reports}
    return check("device", "ok", "; ".join(sorted(status)))


def cache_check(pending: bool) -> Check:
    if not pending:
        return check("prefix cache", "ok", "holds nothing from before the last switch")
    return check(
        "prefix cache",
        "warn",
        "may hold blocks computed before the last switch, because requests never stopped running since",
        "it is reset in the first moment without a running request",
    )


# -- the installation alone --------------------------------------------------------------------------------------


def installation_checks() -> list[Check]:
    """What can be told without an engine: versions, entry points, environment, the library."""
    return [version_check(), library_check(), *map(entry_point_check, (GENERAL, ENDPOINT)), environment_check()]


def version_check() -> Check:
    try:
        version = metadata.version("vllm")
    except metadata.PackageNotFoundError:
        return check("vllm", "fail", "vLLM is not installed here", f"pip install vllm=={probe.TESTED[1]}")
    if reason := probe.check_version(version):
        return check("vllm", "fail", reason, f"pip install vllm=={probe.TESTED[1]}")
    if lost := probe.missing_needs([row.name for row in seams.SEAMS]):
        return check("vllm", "fail", f"vLLM {version} lacks {'; '.join(lost)}", "install the stock wheel")
    return check("vllm", "ok", f"{version}, with every seam in place")


def library_check() -> Check:
    try:
        import opswap

        version = opswap.version()
    except Exception as error:  # any reason that keeps the library from loading is the finding
        return check("library", "fail", f"cannot be loaded: {type(error).__name__}: {error}", REINSTALL)
    return check("library", "ok", f"{version['pack_version']}, {version['cpu_isa']}; {version['device_status']}")


def entry_point_check(group: str) -> Check:
    """vLLM logs and swallows what goes wrong here; loading the entry point once more brings the error to light."""
    found = [point for point in metadata.entry_points(group=group) if point.name == "opswap"]
    if not found:
        return check(group, "fail", "no entry point named opswap: the plugin can never load", REINSTALL)
    if len({point.value for point in found}) > 1:
        places = ", ".join(point.value for point in found)
        return check(group, "fail", f"several entry points named opswap ({places})", "uninstall the stale one")
    try:
        found[0].load()
    except Exception as error:  # whatever it is, it is what vLLM swallowed
        why = f"{type(error).__name__}: {error}"
        return check(group, "fail", f"{found[0].value} cannot be loaded, which vLLM swallows: {why}", REINSTALL)
    return check(group, "ok", found[0].value)


def environment_check() -> Check:
    named = os.environ.get("VLLM_PLUGINS")
    if named is None:
        return check("VLLM_PLUGINS", "warn", "not set: ops are active, but no agent will start", "VLLM_PLUGINS=opswap")
    names = plugin_names(named)
    if "opswap" not in names:
        what = (
            f'{named!r} leaves opswap out, so nothing of it is loaded; on a CPU vLLM then ends with "{WITHOUT_PLUGIN}"'
        )
        return check("VLLM_PLUGINS", "fail", what, "add opswap to VLLM_PLUGINS")
    known = {point.name for group in (GENERAL, ENDPOINT) for point in metadata.entry_points(group=group)}
    known |= {
        point.name
        for group in metadata.entry_points().groups
        if group.startswith("vllm.")
        for point in metadata.entry_points(group=group)
    }
    unknown = [name for name in names if name not in known]
    if unknown:
        return check(
            "VLLM_PLUGINS", "warn", f"names no plugin: {', '.join(unknown)}", "correct the name; vLLM ignores it"
        )
    return check("VLLM_PLUGINS", "ok", named)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m opswap.adapters.vllm.doctor", description="Checks this installation."
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    checks = installation_checks()
    if STATE.error:
        checks.append(check("plugin", "fail", plugin_trouble(STATE), REINSTALL))
    if options.json:
        print(json.dumps(checks, indent=2))
    else:
        for row in checks:
            print(
                f"{row['state']:4}  {row['name']}: {row['message']}"
                + (f"\n      -> {row['remedy']}" if row["remedy"] else "")
            )
    return 1 if any(row["state"] == "fail" for row in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
