"""python -m gen ROOT build DIR   writes the C++ of a build
python -m gen ROOT objects     prints what each CUDA file is compiled for, for CMake
python -m gen ROOT evidence    prints what the committed evidence says of each room with kernels, and its digest
python -m gen ROOT commit      writes the generated files that are committed
python -m gen ROOT check       exits 1 when a committed file differs from what would be generated"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from . import compat, cpp, docs, evidence, py, seams, sm90, spec, ts


def committed(root: Path, ops: list[spec.Op], manifest: dict) -> dict[str, str]:
    protocol = json.loads((root / "ipc/messages.json").read_text())["errors"]
    converter = json.loads((root / "ts-client/src/convert/errors.json").read_text())
    versions = compat.engines(root)
    library = {row["name"]: row for row in manifest["errors"]}
    return {
        "ts-client/src/generated/ops.ts": ts.source(ops),
        "adapters/common/ops.py": py.source(ops),
        "docs/ops.md": docs.ops_page(ops, seams.tables(root)),
        "README.md": docs.readme(root, ops),
        "docs/errors.md": docs.errors_page(manifest["errors"], protocol, converter),
        "docs/engines/README.md": compat.page(root, versions),
        "ts-client/src/generated/compat.ts": compat.source(versions),
        "ts-client/src/generated/errors.ts": ts.errors_source(library, converter),
    }


def built(root: Path, ops: list[spec.Op], manifest: dict) -> dict[str, str]:
    files = {f"{o.name}.gen.h": cpp.room_header(o) for o in ops}
    return {**files, "registry.gen.cpp": cpp.registry_source(root, ops, manifest)}


def write(folder: Path, files: dict[str, str]) -> None:
    """Leaves files that would not change alone, so that nothing is rebuilt for them."""
    for name, text in files.items():
        path = folder / name
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def stale(root: Path, files: dict[str, str]) -> list[str]:
    return [n for n, text in files.items() if not (root / n).exists() or (root / n).read_text() != text]


def main(argv: list[str]) -> int:
    root, verb = Path(argv[0]), argv[1]
    ops = spec.load(root)
    manifest = spec.manifest(root, ops)
    if verb == "build":
        write(Path(argv[2]), built(root, ops, manifest))
    elif verb == "objects":
        sys.stdout.write(sm90.object_list(ops, root))
    elif verb == "evidence":
        sys.stdout.write(evidence.report(root, ops))
    elif verb == "commit":
        write(root, committed(root, ops, manifest))
    elif verb == "check":
        names = stale(root, committed(root, ops, manifest))
        for name in names:
            print(f"{name} is not what the declarations generate; run: npm run build")
        return 1 if names else 0
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except spec.SpecError as error:
        sys.exit(f"declaration: {error}")
