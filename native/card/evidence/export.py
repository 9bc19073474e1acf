"""`export`: writes the files that count as the repository's evidence/ takes them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .folder import OWN, read
from .installed import library_at
from .refusal import Refused
from .report import write_evidence
from .show import found


def export(options: argparse.Namespace) -> int:
    rows = found(library_at(options.library)[0])["files"]
    counting = [row for row in rows if row["counts"] and options.op in (None, row["op"])]
    if not counting:
        remedy = "run: python -m opswap.evidence run"
        raise Refused("OPSWAP_E_EVIDENCE", "there is no evidence that counts for this build", remedy)
    written = []
    for row in counting:
        data = {key: value for key, value in read(Path(row["file"])).items() if key not in OWN}
        written.append(str(write_evidence(options.folder, data)))
    print(json.dumps({"written": written}) if options.json else "\n".join(written))
    return 0
