"""The doctor's checks of a running engine: the judgement of what its processes report.

A check is {name, state: ok | warn | fail, message, remedy}.
"""

from __future__ import annotations

from typing import Any

from opswap.adapters.common.adapter import Adapter
from opswap.adapters.common.seams import Seam
from opswap.adapters.common.state import PluginState

Check = dict[str, str]
Report = dict[str, Any]
REINSTALL = "install opswap again: `pip install --force-reinstall --no-deps WHEEL`, or `npm run build` in a checkout"


def check(name: str, state: str, message: str, remedy: str = "") -> Check:
    return {"name": name, "state": state, "message": message, "remedy": remedy}


def engine_checks(adapter: Adapter, reports: list[Report], cache_pending: bool = False) -> list[Check]:
    """What can be said of any engine, from one report per rank; the adapter adds its own."""
    return [
        version_check(adapter, reports),
        digest_check(reports),
        seam_check(adapter, reports),
        use_check(adapter, reports),
        device_check(reports),
        cache_check(cache_pending),
    ]


def troubles(server: str, state: PluginState, reports: list[Report]) -> list[str]:
    """Processes in which the plugin is not active; `state` is that of this one, named `server`."""
    found = [f"rank {r['rank']}: {r['trouble']}" for r in reports if r["trouble"]]
    return [f"{server}: {state.trouble}", *found] if state.trouble else found


def version_check(adapter: Adapter, reports: list[Report]) -> Check:
    """What is known of the engine's version: whether it was run, or how opswap comes to be in it nevertheless."""
    versions = sorted({report["plugin"]["engine_version"] for report in reports})
    if len(versions) != 1:
        told = f"ranks run different versions of {adapter.engine} ({', '.join(versions)})" if versions else "no rank"
        return check(adapter.package, "fail" if versions else "warn", told, "install one version and restart")
    verdict = adapter.probe.judge(versions[0])
    return check(adapter.package, verdict.state, verdict.message, verdict.remedy)


def digest_check(reports: list[Report]) -> Check:
    broken = [f"rank {r['rank']}: {r['version']['error']}" for r in reports if "error" in r["version"]]
    if broken:
        return check("library", "fail", "; ".join(broken), REINSTALL)
    digests = {r["version"]["build_digest"] for r in reports}
    if len(digests) == 1:
        return check("library", "ok", f"one build on every rank ({digests.pop()[:16]})")
    told = ", ".join(f"rank {r['rank']}: {r['version']['build_digest'][:16]}" for r in reports)
    return check("library", "fail", f"ranks run different builds ({told})", "install one version and restart")


def seam_check(adapter: Adapter, reports: list[Report]) -> Check:
    """Every row of the seam table is installed, or left out for a stated reason."""
    table = adapter.seams
    told = {r["rank"]: set(r["plugin"]["installed"]) | set(r["plugin"]["skipped"]) for r in reports}
    lost = {row.name for row in table.rows for rank in told if row.name not in told[rank]}
    if lost:
        return check("seams", "fail", f"not installed: {', '.join(sorted(lost))}", "restart, and read the server's log")
    skipped = reports[0]["plugin"]["skipped"] if reports else {}
    by_user = [name for name, reason in skipped.items() if table.skip_env in reason]
    if by_user:
        left = f"left to {adapter.engine}: {', '.join(by_user)}"
        return check("seams", "warn", left, f"unset {table.skip_env} to take them back")
    return check("seams", "ok", ", ".join(reports[0]["plugin"]["installed"]) if reports else "no rank")


def use_check(adapter: Adapter, reports: list[Report]) -> Check:
    """Counters prove that an installed seam is really on the path of a token."""
    if not reports or all(r["step"] == 0 for r in reports):
        return check("in use", "warn", "no step has run yet", "send one request and ask again")
    idle = sorted({row.name for r in reports for row in adapter.seams.rows if _is_idle(row, r)})
    if not idle:
        return check("in use", "ok", f"every installed seam was used within {reports[0]['step']} steps")
    why = "the model may have no such layer"
    remedy = f"{why}; {adapter.stale_compilation}" if adapter.stale_compilation else why
    return check("in use", "warn", f"installed but never called: {', '.join(idle)}", remedy)


def _is_idle(row: Seam, report: Report) -> bool:
    if row.kernels and not set(row.kernels) & set(report.get("kernels", {})):
        return False  # no layer of this model is of that kind
    if not row.counted or row.name not in report["plugin"]["installed"] or report["rank"] != 0:
        return False
    return not any(report["calls"].get(op, 0) for op in row.ops)


def bypass_check(adapter: Adapter, reports: list[Report]) -> Check:
    """What the model has that no op takes, with how often."""
    told = reports[0]["plugin"]["bypassed"] if reports else {}
    if not told:
        return check("bypassed layers", "ok", "none")
    what = "; ".join(f"{count} x {key}" for key, count in told.items())
    told_of = f"run {adapter.engine}'s own code: {what}"
    return check("bypassed layers", "warn", told_of, "nothing to do: the ops do not offer this")


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
