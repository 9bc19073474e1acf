"""Evidence from real cards, evidence/<device>/<op>.json: its format, and what of it holds for the sources of a build.

python -m gen ROOT evidence   prints per op with CUDA kernels what its evidence says
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sources import kernel_digest
from .spec import Op, require

SCHEMA = 1
NUMBER = (int, float)
#: Keys and the types of their values; a list holds rows of its one element, a dict of `str` any keys.
RESULT = {"case": dict, "types": dict, "passed": bool, "outputs": {str: {"max_abs": NUMBER, "relative_norm": NUMBER}}}
TIMING = {
    "case": dict,
    "types": dict,
    "us": NUMBER,
    "bytes": int,
    "share_of_copy": NUMBER,
    "share_of_matrix": (*NUMBER, type(None)),
    "baselines": {str: NUMBER},
}
FORMAT = {
    "schema": int,
    "op": str,
    "implementation": str,
    "backend": str,
    "device": {"model": str, "name": str, "architecture": str, "sms": int},
    "commit": str,
    "sources": str,
    "driver": str,
    "cuda": str,
    "clocks_mhz": {"sm": [NUMBER], "memory": [NUMBER]},
    "copy_gbps": NUMBER,
    "matrix_tflops": {str: NUMBER},
    "correctness": [RESULT],
    "timing": [TIMING],
}


@dataclass(frozen=True)
class Standing:
    """What the evidence lets an implementation do."""

    correct: tuple[str, ...] = ()  # device models on which every recorded case passed, on these sources
    timed: tuple[str, ...] = ()  # those of them with speeds
    experimental: str | None = None  # why it runs only when named


def mismatch(value: Any, wanted: Any, where: str) -> str | None:
    """The first difference from a format as above, in words."""
    if isinstance(wanted, dict):
        return _dict_mismatch(value, wanted, where)
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return f"{where} needs to be a list"
        return next((text for i, v in enumerate(value) if (text := mismatch(v, wanted[0], f"{where}[{i}]"))), None)
    accepted = wanted if isinstance(wanted, tuple) else (wanted,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
        return f"{where} is {value!r}, needs {' or '.join(t.__name__ for t in accepted)}"
    return None


def _dict_mismatch(value: Any, wanted: dict, where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where} needs to be an object"
    if str in wanted:
        return next((text for k, v in value.items() if (text := mismatch(v, wanted[str], f"{where}.{k}"))), None)
    if missing := sorted(set(wanted) - set(value)):
        return f"{where} needs the key '{missing[0]}'"
    return next((text for k, w in wanted.items() if (text := mismatch(value[k], w, f"{where}.{k}"))), None)


def _refuse_emulated(data: Any, path: Path) -> None:
    said = json.dumps([data.get("backend"), data.get("device")]) if isinstance(data, dict) else ""
    require("emulat" not in said.lower(), path, "is of an emulated run, which is no evidence; remove the file")


def check(data: Any, path: Path, models: set[str]) -> None:
    """SpecError with the file's name unless `data` is evidence of the place where it lies."""
    _refuse_emulated(data, path)
    text = mismatch(data, FORMAT, "evidence")
    require(text is None, path, text or "")
    require(data["schema"] == SCHEMA, path, f"has schema {data['schema']}, this build reads {SCHEMA}")
    require(data["backend"] == "cuda", path, f"has backend '{data['backend']}', needs cuda: a real card")
    model = data["device"]["model"]
    require(model in models, path, f"is of the device '{model}', evidence/devices.json has {sorted(models)}")
    require(path.parent.name == model, path, f"is of the device '{model}', but lies in {path.parent.name}/")
    require(path.stem == data["op"], path, f"is of the op '{data['op']}'")
    require(data["device"]["architecture"] == "sm_90", path, "needs a device of architecture sm_90")
    require(bool(data["correctness"]), path, "has no result of correctness")


def read(root: Path, op: Op) -> list[dict]:
    """The evidence of one op, checked, by device model."""
    devices = root / "evidence/devices.json"
    models = set(json.loads(devices.read_text())) if devices.exists() else set()
    found = []
    for path in sorted(root.glob(f"evidence/*/{op.name}.json")):
        if path.parent.name == "local":
            continue
        try:
            data = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            require(False, path, f"is not JSON: {error}")
        check(data, path, models)
        found.append(data)
    return found


def standing(root: Path, op: Op) -> Standing:
    """Whether `sm90` of an op may be chosen without being named, and where it has been timed."""
    rows = read(root, op)
    if not rows:
        return Standing(experimental="there is no evidence from a device yet")
    digest = kernel_digest(root, op)
    refusals, correct, timed = [], [], []
    for data in rows:
        model = data["device"]["model"]
        refusal = _refusal(data, op, digest)
        if refusal:
            refusals.append(f"{model}: {refusal}")
            continue
        correct.append(model)
        if data["timing"]:
            timed.append(model)
    if refusals and not correct:
        return Standing(experimental=f"its evidence does not hold ({'; '.join(refusals)})")
    return Standing(tuple(correct), tuple(timed))


def _refusal(data: dict, op: Op, digest: str) -> str | None:
    if data["sources"] != digest:
        return "it is of other sources"
    failed = sum(not row["passed"] for row in data["correctness"])
    if failed:
        return f"{failed} of {len(data['correctness'])} cases failed"
    for variable, dtypes in op.data["types"].items():
        seen = {row["types"].get(variable) for row in data["correctness"]}
        if unseen := [d for d in dtypes if d not in seen]:
            return f"{variable} = {unseen[0]} was not tried"
    return None


def report(root: Path, ops: list[Op]) -> str:
    lines = []
    for op in (o for o in ops if o.kernel_files):
        found = standing(root, op)
        text = f"experimental: {found.experimental}" if found.experimental else f"correct on {', '.join(found.correct)}"
        lines.append(f"{op.name}|{kernel_digest(root, op)}|{text}")
    return "\n".join(lines) + "\n"
