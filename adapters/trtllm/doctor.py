"""Would opswap work in this TensorRT-LLM? `python -m opswap.adapters.trtllm.doctor TREE` compares an installed tree
with the tables of what the adapter relies on. The tree is parsed, and nothing of it is imported.

`--reports FOLDER` judges what the ranks of a server wrote instead (report.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from opswap.adapters.common import checks
from opswap.adapters.common.checks import Check, check
from opswap.adapters.common.contract import Contract
from opswap.adapters.common.drift import drifts
from opswap.adapters.common.package_text import PackageText, UnreadableSource
from opswap.adapters.common.state import PluginState
from opswap.adapters.trtllm.adapter import ADAPTER
from opswap.adapters.trtllm.probe import PACKAGE, PROBE, contract_for, contracts

MOST_REPORT = 8 << 20


def tree_checks(folder: Path, table: str | None = None) -> list[Check]:
    """One check of the version, one of each seam, and one of each row that drifted."""
    tree = PackageText(folder, PACKAGE)
    if not tree.is_there:
        where = f"expected a folder {PACKAGE}, or one that has it, such as site-packages; {folder} is neither"
        return [check("tree", "fail", f"OPSWAP_E_USAGE: {where}", "give the folder that `pip show -f` names")]
    try:
        version = tree.version
    except UnreadableSource as error:
        return [check("version", "fail", str(error), PROBE.remedy)]
    verdict = PROBE.judge(version)
    contract = next((one for one in contracts() if one.table == table), None) if table else contract_for(version)
    if contract is None:
        known = " or ".join(one.table for one in contracts())
        remedy = f"{verdict.remedy}, or compare with one table all the same: --table {known}"
        return [check("version", "fail", verdict.message, remedy)]
    told = f"{ADAPTER.engine} {version or 'without a version'}, compared with the table {contract.table}"
    state = "warn" if table else verdict.state
    return [check("version", state, f"{told}; {verdict.message}", verdict.remedy), *_seam_checks(contract, tree)]


def _seam_checks(contract: Contract, tree: PackageText) -> list[Check]:
    found = drifts(contract, tree)
    rows: list[Check] = []
    for seam in dict.fromkeys(row.seam for row in contract.rows):
        lost = [drift for drift in found if drift.row.seam == seam]
        count = sum(row.seam == seam for row in contract.rows)
        if not lost:
            rows.append(check(seam, "ok", f"{count} rows as they were read"))
        remedy = f"{ADAPTER.seams.skip_env}={seam} leaves the seam to {ADAPTER.engine}"
        fix = remedy if any(row.name == seam for row in ADAPTER.seams.rows) else PROBE.remedy
        rows += [check(seam, "fail", f"{drift.row.where}: {drift.why}", fix) for drift in lost]
    return rows


def report_checks(folder: Path) -> list[Check]:
    """The checks of a running engine, from what its ranks wrote."""
    reports: list[dict[str, Any]] = []
    for file in sorted(folder.glob("rank-*.json")):
        if file.stat().st_size > MOST_REPORT:
            return [
                check("reports", "fail", f"{file} has more than {MOST_REPORT} bytes", "it is no report of a rank's")
            ]
        reports.append(json.loads(file.read_text("utf-8")))
    if not reports:
        remedy = "start the server with OPSWAP_TRTLLM_REPORT=FOLDER and --custom_module_dirs, and send a request"
        return [check("reports", "fail", f"no rank has written to {folder}", remedy)]
    troubles = checks.troubles("", PluginState(pid=1), reports)
    plugin = check("plugin", "fail" if troubles else "ok", "; ".join(troubles) or f"active on {len(reports)} ranks")
    kept = reports[0]["plugin"]["bypassed"]
    layers = "; ".join(f"{count} x {what}" for what, count in kept.items())
    stays = check("bypassed layers", "warn" if kept else "ok", layers or "none")
    return [plugin, stays, *checks.engine_checks(ADAPTER, reports)]


def main(argv: list[str] | None = None) -> int:
    """Prints the checks; returns 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m opswap.adapters.trtllm.doctor", description=__doc__)
    parser.add_argument("tree", type=Path, nargs="?", help=f"the folder {PACKAGE}, or one that has it")
    parser.add_argument("--table", choices=[one.table for one in contracts()], help="compare with this one")
    parser.add_argument("--reports", type=Path, help="judge what the ranks of a server wrote there")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if (options.tree is None) == (options.reports is None):
        parser.error("give a tree, or --reports FOLDER")
    found = report_checks(options.reports) if options.reports else tree_checks(options.tree, options.table)
    healthy = not any(row["state"] == "fail" for row in found)
    if options.json:
        print(json.dumps({"healthy": healthy, "checks": found}, indent=2))
    else:
        for row in found:
            remedy = f"\n      {row['remedy']}" if row["remedy"] else ""
            print(f"{row['state']:4}  {row['name']}: {row['message']}{remedy}")
        print("healthy" if healthy else "NOT healthy")
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
