"""The doctor's checks of an installation, without an engine: versions, entry points, the library."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from opswap.adapters.common.adapter import Adapter
from opswap.adapters.common.checks import REINSTALL, Check, check
from opswap.adapters.common.seams import InstallContext
from opswap.adapters.common.state import PluginState
from opswap.adapters.common.tree import SourceTree

NO_DEVICE = "on a machine without a card take the README's block for a CPU; docs/install.md says which driver is needed"


def installation_checks(adapter: Adapter) -> list[Check]:
    """What can be told of any engine; the adapter adds its own."""
    found = [version_check(adapter), copies_check(), library_check(), *map(entry_point_check, adapter.entry_points)]
    if any(row["state"] == "fail" for row in found):
        return found  # what the seams need is not there
    return [*found, evidence_check(), seams_check(adapter)]


def version_check(adapter: Adapter) -> Check:
    probe, package = adapter.probe, adapter.package
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return check(package, "fail", f"{adapter.engine} is not installed here", probe.remedy)
    verdict = probe.judge(version)
    if verdict.state == "fail":
        return check(package, "fail", verdict.message, verdict.remedy)
    if lost := probe.missing_needs([row.name for row in adapter.seams.rows]):
        lacks = f"{adapter.engine} {version} lacks {'; '.join(lost)}"
        return check(package, "fail", lacks, "install the stock wheel")
    return check(package, verdict.state, f"{verdict.message}, with every seam in place", verdict.remedy)


def copies_check() -> Check:
    """Of several installations Python takes the first on its path, whatever is installed or removed behind it."""
    found = {str(copy.locate_file("")): copy.version for copy in metadata.distributions(name="opswap")}
    first, *others = (f"{version} in {folder}" for folder, version in found.items())
    if not others:
        return check("opswap", "ok", first)
    hidden = f"{first} hides {', '.join(others)}"
    return check("opswap", "warn", hidden, "uninstall one of them, or take its folder off PYTHONPATH")


def library_check() -> Check:
    try:
        import opswap

        version = opswap.version()
    except Exception as error:  # any reason that keeps the library from loading is the finding
        return check("library", "fail", f"cannot be loaded: {type(error).__name__}: {error}", REINSTALL)
    return check("library", "ok", f"{version['pack_version']}, {version['cpu_isa']}; {version['device_status']}")


def evidence_check() -> Check:
    """Which files of this machine's own card the library counts, and which it refuses."""
    import opswap

    impls = [impl for op in opswap.manifest()["ops"] for impl in opswap.why(op["op"])["impls"]]
    said = [text for impl in impls for text in impl.get("local", [])]
    refused = [text for text in said if text.startswith("OPSWAP_E_EVIDENCE")]
    if refused:
        told = f"{len(refused)} refused, as {refused[0]}"
        return check("evidence", "warn", told, "python -m opswap.evidence show lists them")
    return check("evidence", "ok", f"local, of {len(said)} ops" if said else "none of this machine's own card")


def entry_point_check(group: str) -> Check:
    """An engine may log and swallow what goes wrong here; loading the entry point again brings the error to light."""
    found = [point for point in metadata.entry_points(group=group) if point.name == "opswap"]
    if not found:
        return check(group, "fail", "no entry point named opswap: the plugin can never load", REINSTALL)
    if len({point.value for point in found}) > 1:
        places = ", ".join(point.value for point in found)
        return check(group, "fail", f"several entry points named opswap ({places})", "uninstall the stale one")
    try:
        found[0].load()
    except Exception as error:  # whatever it is, it is what the engine swallowed
        why = f"{type(error).__name__}: {error}"
        return check(group, "fail", f"{found[0].value} cannot be loaded, which the engine swallows: {why}", REINSTALL)
    return check(group, "ok", found[0].value)


def seams_check(adapter: Adapter) -> Check:
    """What a process that starts with this environment would replace, and what is left to the engine, and why."""
    import opswap

    state, on_cpu = PluginState(), adapter.on_cpu()
    try:
        chosen = adapter.seams.choose(InstallContext(on_cpu=on_cpu), state)
    except ValueError as error:
        return check("seams", "fail", str(error), f"correct {adapter.seams.skip_env}")
    skipped = "".join(f"; {name}: {why}" for name, why in state.skipped.items())
    told = f"{', '.join(seam.name for seam in chosen) or 'none'}{skipped}"
    device = opswap.version()["device_status"]
    if not on_cpu and device.startswith("no usable"):
        return check("seams", "warn", f"{told}; {adapter.engine} is not on its CPU platform, and {device}", NO_DEVICE)
    return check("seams", "ok", told)


def tree_checks(adapter: Adapter, folder: Path) -> list[Check]:
    """What is known of the version in a folder, and whether its source has what the seams use."""
    probe, package = adapter.probe, adapter.package
    version = version_in(folder, package)
    if version is None:
        what = f"{folder} has no folder {package}-VERSION.dist-info"
        return [check(package, "fail", what, f"unpack a wheel of {adapter.engine} there")]
    verdict, lost = probe.judge(version), SourceTree(folder).missing_needs(probe.needs)
    count = sum(map(len, probe.needs.values()))
    source = check("source", "fail", f"of {count} needs {len(lost)} are not met: {'; '.join(lost)}", probe.remedy)
    return [
        check(package, verdict.state, verdict.message, verdict.remedy),
        source if lost else check("source", "ok", f"has all {count} names and argument lists that the seams use"),
    ]


def version_in(folder: Path, package: str) -> str | None:
    """Of the package that lies unpacked in a folder."""
    found = list(metadata.distributions(name=package, path=[str(folder)]))
    return found[0].version if found else None


def main(adapter: Adapter, checks: Callable[[], list[Check]], program: str, argv: list[str] | None = None) -> int:
    """The command `python -m PROGRAM`: prints the checks; returns 1 when one failed."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description="Checks this installation.")
    parser.add_argument("--json", action="store_true")
    unpacked = f"look at an unpacked {adapter.engine} instead, of which nothing is imported"
    parser.add_argument("--tree", metavar="FOLDER", type=Path, help=unpacked)
    options = parser.parse_args(argv)
    found = checks() if options.tree is None else tree_checks(adapter, options.tree)
    if adapter.state.error and options.tree is None:
        found.append(check("plugin", "fail", adapter.state.trouble, REINSTALL))
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for row in found:
            remedy = f"\n      -> {row['remedy']}" if row["remedy"] else ""
            print(f"{row['state']:4}  {row['name']}: {row['message']}{remedy}")
    return 1 if any(row["state"] == "fail" for row in found) else 0
