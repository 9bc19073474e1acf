"""The committed table of what each compiled kernel takes of an SM: compared by a test, written by this command.

python -m static.budget ROOT CUOBJDUMP [--write]   exits 1 and prints the difference unless it writes
"""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
from pathlib import Path

from static.compiled_kernels import Kernel, read

TABLE = Path("test/static/kernels.json")
#: `outstanding`: bytes of loads that a thread has under way in the part of the kernel that loads most.
COLUMNS = ("registers", "shared", "barriers", "threads", "outstanding")


def objects_folder(root: Path) -> Path:
    return root / "build/native-work/sm90"


def objects(root: Path) -> list[tuple[str, str, str]]:
    """(op, instance, object's name) of every object of a build."""
    command = [sys.executable, "-m", "gen", str(root), "objects"]
    out = subprocess.run(command, cwd=root / "native", check=True, capture_output=True, text=True).stdout
    return [(row[0], row[1], row[5]) for row in (line.split("|") for line in out.split())]


def nvcc_release(root: Path) -> str:
    return (objects_folder(root) / "nvcc-version").read_text().strip()


def read_all(root: Path, cuobjdump: Path) -> list[Kernel]:
    found = (read(*of, objects_folder(root), cuobjdump) for of in objects(root))
    return sorted((k for kernels in found for k in kernels), key=lambda k: (k.op, k.instance, k.name))


def table(release: str, kernels: list[Kernel]) -> str:
    """JSON with one kernel a line, so that a change of one is a change of its line."""
    rows = [
        {"op": k.op, "instance": k.instance, "kernel": k.name, **{c: getattr(k, c) for c in COLUMNS}} for k in kernels
    ]
    lines = ",\n".join("    " + json.dumps(row) for row in rows)
    return f'{{\n  "nvcc": {json.dumps(release)},\n  "kernels": [\n{lines}\n  ]\n}}\n'


def difference(committed: str, built: str) -> str:
    return "\n".join(
        difflib.unified_diff(committed.splitlines(), built.splitlines(), "committed", "built", "", "", 0, "")
    )


def main(argv: list[str]) -> int:
    root, cuobjdump = Path(argv[0]), Path(argv[1])
    path, release = root / TABLE, nvcc_release(root)
    if (of := json.loads(path.read_text())["nvcc"]) != release:
        print(f"{TABLE} is of nvcc {of} and not compared: nvcc {release} compiled, whose registers differ")
        return 0
    built = table(release, read_all(root, cuobjdump))
    if "--write" in argv:
        path.write_text(built)
        return 0
    text = difference(path.read_text(), built)
    if text:
        print(f"{TABLE} is not what was compiled; run: npm run check -- --fix\n{text}")
    return 1 if text else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
