"""Which reader gets the right weights out of each layout, for models of each family: `npm run loaders`.

Every family is made tiny, converted to every layout, and loaded by the readers' own code. Readers run in processes of
their own, each cell in a child of one that has imported the reader. `--record` writes docs/loaders.json.
"""

import argparse
import datetime
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "loaders.json"
LAYOUTS = [
    "bf16",
    "fp8_block128",
    "fp8_tensor",
    "ct_fp8_tensor",
    "ct_fp8_channel",
    "ct_fp8_block",
    "w4a8_g128_vllm",
    "w4a8_g128_vllm_mixed",
    "w4a8_g128_sglang",
    "w4a8_g128_trtllm",
]
READERS = ["vllm", "transformers", "sglang", "compressed_tensors"]
STATIC = {"w4a8_g128_sglang", "w4a8_g128_trtllm"}
SECONDS = 300
# What `plan` says of a reader that is none of its own: compressed-tensors, which transformers and engines read with.
UNASKED = ""
# Readers take no thread more than they need, and say nothing.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "CRITICAL",
    "VLLM_PLUGINS": "",
    "VLLM_TARGET_DEVICE": "cpu",
}


def opswap(*arguments) -> subprocess.CompletedProcess:
    command = ["node", ROOT / "dist" / "opswap.cjs", "convert", *arguments]
    words = [str(one) for one in command]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=SECONDS)


def options(source: Path, layout: str) -> list[str]:
    from loaders.families import beside

    statistics = ["--calibration", str(beside(source, "statistics"))] if layout in STATIC else []
    return ["--to", layout, *statistics]


def converted(source: Path, layout: str, output: Path) -> str:
    """ "" where it was converted, or why it was refused."""
    done = opswap(source, output, *options(source, layout), "--quiet")
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[0]


def planned(source: Path, layout: str) -> dict[str, dict]:
    """What `plan` says of each reader."""
    done = opswap("plan", source, *options(source, layout), "--no-measure", "--json")
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return {one["reader"]: one for one in json.loads(done.stdout)["readers"]}


def where(error: BaseException) -> str:
    """File and line below the folder that Python found the reader in."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    folders = sorted((one for one in sys.path if one and frame.filename.startswith(f"{one}/")), key=len)
    file = frame.filename.removeprefix(f"{folders[-1]}/") if folders else Path(frame.filename).name
    return f"{file}:{frame.lineno}"


def in_child(work) -> str:
    """What `work` returns in a process of its own, or what it raised."""
    take, give = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(take)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            said = work()
        except BaseException as error:  # the reader's own failures are results
            first = str(error).strip().splitlines()[:1] or [""]
            said = f"raises: {type(error).__name__}: {first[0][:160]} @ {where(error)}"
        os.write(give, said.encode())
        os._exit(0)
    os.close(give)
    with os.fdopen(take) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said or "raises: its process ended"


def read_all(reader: str, cells: list[list[str]], folder: Path) -> None:
    """In a process of the reader: prints a JSON line for its version and for each cell."""
    module = importlib.import_module(f"loaders.read_{reader}")
    gc.freeze()  # what was imported is looked through by every child's first collection otherwise, longer than it works
    print(json.dumps({"name": module.NAME, "version": module.VERSION}), flush=True)
    for family, layout in cells:
        source, output = folder / family, folder / f"{family}.{layout}"
        print(
            json.dumps([family, layout, in_child(lambda s=source, o=output, f=family: module.read(f, s, o))]),
            flush=True,
        )


def versions_of(reader: str) -> list[str]:
    """Folders of unpacked wheels, each put before the environment's own version in turn; "" is that version."""
    more = os.environ.get("OPSWAP_COMPRESSED_TENSORS", "") if reader == "compressed_tensors" else ""
    return ["", *filter(None, more.split(os.pathsep))]


def reads(reader: str, layout: str) -> bool:
    """compressed-tensors reads its own layouts alone."""
    return reader != "compressed_tensors" or layout.startswith(("ct_", "w4a8_g128_vllm"))


def python_of(reader: str) -> str | None:
    return os.environ.get("OPSWAP_SGLANG_PYTHON") if reader == "sglang" else sys.executable


class Matrix:
    """The cells of some families and layouts, made in a folder."""

    def __init__(self, folder: Path, families: list[str], layouts: list[str]):
        self.folder = folder
        self.families = families
        self.layouts = layouts
        self.refused: dict[tuple[str, str], str] = {}
        self.plans: dict[tuple[str, str], dict[str, dict]] = {}

    def make(self) -> None:
        from loaders import families

        for family in self.families:
            families.make(family, self.folder / family)
            for layout in self.layouts:
                source = self.folder / family
                why = converted(source, layout, self.folder / f"{family}.{layout}")
                if why:
                    self.refused[family, layout] = why
                else:
                    self.plans[family, layout] = planned(source, layout)

    def read(self, reader: str, version: str = "") -> tuple[dict, list[dict]]:
        """`version` is a folder that holds another version of the reader than the environment has."""
        cells = [list(cell) for cell in self.plans if reads(reader, cell[1])]
        command = [python_of(reader), __file__, "--cells", reader, str(self.folder)]
        path = [str(ROOT / "test"), version, os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(filter(None, path))}
        asked = json.dumps(cells)
        done = subprocess.run(command, check=False, input=asked, capture_output=True, text=True, env=environment)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line[:1] in "[{"]
        if len(lines) != 1 + len(cells):
            raise RuntimeError(f"{reader} read {len(lines) - 1} of {len(cells)} cells: {done.stderr[-2000:]}")
        rows = [self.row(family, layout, reader, result) for family, layout, result in lines[1:]]
        refused = [
            {"family": family, "layout": layout, "result": f"refused: {why}", "plan": "refused", "remedy": ""}
            for (family, layout), why in self.refused.items()
            if reads(reader, layout)
        ]
        return lines[0], rows + refused

    def row(self, family: str, layout: str, reader: str, result: str) -> dict:
        cell = {"family": family, "layout": layout, "result": result}
        said = self.plans[family, layout].get(reader)
        if said is None:
            return {**cell, "plan": UNASKED, "remedy": ""}
        if said["loads"]:
            return {**cell, "plan": "loads", "remedy": ""}
        [first, *_] = said["problems"]
        return {**cell, "plan": f"refused: {first['problem']}", "remedy": first["remedy"]}


def disagreements(rows: list[dict]) -> list[dict]:
    """Cells where `plan` says something else than the reader did."""
    told = [row for row in rows if row["plan"] != UNASKED]
    return [row for row in told if (row["result"] == "right") != (row["plan"] == "loads")]


def main() -> int:
    from loaders.families import FAMILIES

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--reader", action="append", choices=READERS)
    parser.add_argument("--layout", action="append", choices=LAYOUTS)
    parser.add_argument("--record", action="store_true", help="write docs/loaders.json: all families and layouts")
    given = parser.parse_args()
    readers = given.reader or [one for one in READERS if python_of(one) and one != "compressed_tensors"]
    for reader in readers:
        if python_of(reader) is None:
            parser.error(f"{reader}: set OPSWAP_SGLANG_PYTHON to the Python of an environment with SGLang 0.5.23")
    with tempfile.TemporaryDirectory() as folder:
        matrix = Matrix(Path(folder), given.families, given.layout or LAYOUTS)
        matrix.make()
        found = [(reader, *matrix.read(reader, version)) for reader in readers for version in versions_of(reader)]
    for _, who, rows in found:
        for row in rows:
            print(" | ".join([f"{who['name']} {who['version']}", *row.values()]))
    if given.record:
        record(found)
    return 1 if any(disagreements(rows) for _, _, rows in found) else 0


def record(found: list[tuple[str, dict, list[dict]]]) -> None:
    """Readers that were not asked this time keep what they said before, with their date."""
    from loaders import page

    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    for reader, who, rows in found:
        key = f"{reader} {who['version']}" if reader == "compressed_tensors" else reader
        known[key] = {**who, "date": today, "cells": rows}
    RECORD.write_text(json.dumps(known, indent=1) + "\n")
    page.PAGE.write_text(page.page(known))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cells"]:
        read_all(sys.argv[2], json.load(sys.stdin), Path(sys.argv[3]))
    else:
        sys.exit(main())
