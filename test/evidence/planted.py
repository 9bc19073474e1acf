"""A small tree with one room, and evidence planted into it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from gen import spec
from gen.sources import kernel_digest
from house.rules import ROOT, files

OP = "rms_norm"
KEPT = ("kernels/common/", "native/", "emulator/", "evidence/devices.json", "package.json")


def tree(folder: Path, op: str = OP) -> Path:
    for path in files(*KEPT, f"kernels/{op}/"):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return folder


def op(root: Path) -> spec.Op:
    return next(o for o in spec.load(root) if o.name == OP)


def evidence(root: Path, model: str = "H100", **changed: Any) -> dict[str, Any]:
    """What the GPU suite would have written, with some keys changed."""
    case = {"T": 1, "H": 64}
    result = {"case": case, "passed": True, "outputs": {"out": {"max_abs": 0.001, "relative_norm": 0.0004}}}
    timing = {"case": case, "us": 1.5, "bytes": 384, "share_of_copy": 0.5, "share_of_matrix": None, "baselines": {}}
    dtypes = op(root).data["types"]["scalar"]
    data = {
        "schema": 1,
        "op": OP,
        "implementation": "sm90",
        "backend": "cuda",
        "device": {"model": model, "name": f"NVIDIA {model}", "architecture": "sm_90", "sms": 132},
        "commit": "0" * 40,
        "sources": kernel_digest(root, op(root)),
        "driver": "580.1",
        "cuda": "13.0",
        "clocks_mhz": {"sm": [1980], "memory": [2619]},
        "copy_gbps": 2900.0,
        "matrix_tflops": {},
        "correctness": [{**result, "types": {"scalar": d}} for d in dtypes],
        "timing": [{**timing, "types": {"scalar": "bfloat16"}}],
    }
    return {**data, **changed}


def plant(root: Path, data: dict[str, Any], model: str = "H100", name: str = OP) -> Path:
    path = root / "evidence" / model / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path
