"""The GPU suite: every op with CUDA kernels, checked and timed on a card, with evidence of it. Works offline.

npm run gpu [-- OP ...] or: PYTHONPATH=test:native python3 -m gpu [OP ...]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from card.evidence.suite import Plan, Suite
from gpu.builder import ROOT

BUILD = ROOT / "build/gpu"
PATHS = [ROOT / "test", ROOT / "native"]
NEEDED = {"numpy": "numpy", "ml_dtypes": "ml_dtypes"}


def options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="npm run gpu --", description=__doc__.split("\n", 1)[0])
    parser.add_argument("ops", nargs="*", help="ops to run; all that have kernels when none is named")
    parser.add_argument("--library", type=Path, help="use this libopswap.so instead of building one")
    parser.add_argument("--backend", choices=["cuda", "emulated"], default="cuda")
    parser.add_argument("--seed", type=int, help="of the random inputs; a fresh one when not given")
    parser.add_argument("--seconds", type=float, default=420, help="for everything after the build")
    parser.add_argument("--op-seconds", type=float, default=90, help="for one op at most")
    parser.add_argument("--evidence", type=Path, default=ROOT / "evidence", help="where evidence files go")
    parser.add_argument("--wheels", type=Path, default=BUILD / "wheels", help="wheels that were brought along")
    return parser.parse_args(argv)


def say(text: str) -> None:
    print(text, flush=True)


def unpack_wheels(folder: Path) -> Path:
    """Wheels are zip files; what is in them is importable from the folder that this returns."""
    site = folder.parent / "site"
    for wheel in sorted(folder.glob("*.whl")) if folder.exists() else []:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return site


def obstacles(kind: str) -> list[str]:
    """What is missing, a line each."""
    lines = []
    needed = {**NEEDED, **({"torch": "torch 2.11 or later for CUDA 13"} if kind == "cuda" else {})}
    for module, name in needed.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            lines.append(f"missing: {name} ({error}); bring its wheel in {BUILD / 'wheels'}")
    if kind == "cuda" and not lines:
        import torch

        if not torch.cuda.is_available():
            lines.append("missing: a card that torch can use; --backend emulated tries the host's part without one")
    return lines


def ops_with_kernels() -> list[str]:
    from gen.spec import kernel_files

    return sorted(path.parent.name for path in ROOT.glob("kernels/*/op.json") if kernel_files(path.parent))


def is_sanitized(op: str) -> bool:
    """Whether its op.json asks for it: one op of each kind of kernel does."""
    return json.loads((ROOT / "kernels" / op / "op.json").read_text()).get("sanitize", False)


def environment(site: Path) -> dict[str, str]:
    before = os.environ.get("PYTHONPATH")
    paths = [*map(str, PATHS), str(site), *([before] if before else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


def sanitize(suite: Suite, ops: list[str]) -> list[str]:
    """compute-sanitizer over the smallest case of the ops that ask for it; a line for each trouble."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        say("  compute-sanitizer: not here, so no kernel was run under it")
        return []
    troubles = []
    for op in filter(is_sanitized, ops):
        for tool in ("memcheck", "racecheck", "synccheck"):
            under = (program, "--tool", tool, "--error-exitcode", "9")
            _, ended = suite.run(op, "smallest", min(suite.left, suite.plan.op_seconds), under)
            if ended:
                troubles.append(f"compute-sanitizer {tool}, {op}: {ended}")
    return troubles


def commit() -> str:
    """HEAD; of a tree that was copied without its history OPSWAP_COMMIT says it."""
    if said := os.environ.get("OPSWAP_COMMIT"):
        return said
    ran = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout.strip() if ran.returncode == 0 else "unknown"


def sources() -> dict[str, str]:
    command = [sys.executable, "-m", "gen", str(ROOT), "evidence"]
    out = subprocess.run(command, cwd=ROOT / "native", check=True, capture_output=True, text=True).stdout
    return {op: digest for op, digest, _ in (line.split("|", 2) for line in out.splitlines())}


def record(outcomes: list, asked: argparse.Namespace) -> None:
    """Evidence of a card; an emulated run leaves the same files under build/, which the build refuses as evidence."""
    from card.evidence.report import evidence, write_evidence

    folder = asked.evidence if asked.backend == "cuda" else BUILD / "emulated"
    digests, head = sources(), commit()
    for outcome in outcomes:
        if not outcome.sound:
            continue
        path = write_evidence(folder, evidence(outcome, asked.backend, head, digests[outcome.op]))
        say(f"  {'evidence' if asked.backend == 'cuda' else 'emulated, no evidence'}: {path}")


def prepare(asked: argparse.Namespace) -> tuple[Path, dict[str, str]] | None:
    site = unpack_wheels(asked.wheels)
    sys.path.append(str(site))
    lines = obstacles(asked.backend)
    for line in lines:
        say(line)
    if lines:
        return None
    from gpu.builder import BuildError, build

    if asked.library:
        return asked.library, environment(site)
    try:
        library, how = build(BUILD / "native")
    except BuildError as error:
        say(f"missing: the library: {error}")
        return None
    say(f"  library: {library}, {how}")
    return library, environment(site)


def main(argv: list[str]) -> int:
    asked = options(argv)
    BUILD.mkdir(parents=True, exist_ok=True)
    unknown = sorted(set(asked.ops) - set(ops_with_kernels()))
    if unknown:
        say(f"no kernels in {', '.join(unknown)}; there are {', '.join(ops_with_kernels())}")
        return 2
    ready = prepare(asked)
    if ready is None:
        return 2
    from card.evidence.baselines import missing
    from card.evidence.report import table

    library, env = ready
    limits = (asked.seconds, asked.op_seconds, asked.seed)
    suite = Suite(Plan(library, asked.backend, BUILD, *limits, environment=env), say)
    say(f"  inputs from seed {suite.seed}")
    for line in missing() if asked.backend == "cuda" else []:
        say(f"  {line}")
    ops = asked.ops or ops_with_kernels()
    outcomes = suite.check_all(ops)
    troubles: list[str] = []
    if asked.backend == "cuda":
        troubles = sanitize(suite, [o.op for o in outcomes if o.sound])
        suite.time_all(outcomes)
    record(outcomes, asked)
    (BUILD / "outcome.json").write_text(json.dumps([vars(o) for o in outcomes], indent=1))
    for line in troubles:
        say(line)
    say(table(outcomes, asked.backend))
    return 0 if all(o.sound for o in outcomes) and not troubles else 1


if __name__ == "__main__":
    sys.path[:0] = [str(p) for p in PATHS if str(p) not in sys.path]
    sys.exit(main(sys.argv[1:]))
