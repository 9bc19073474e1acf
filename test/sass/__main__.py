"""What the compiled kernels issue, and what they have under way: ours beside the peers'. No card is needed.

npm run sass [-- OP ...]       ops with kernels, and `products`, the emulator's own GEMM; all when none is named
npm run sass -- --file FILE    every kernel of an object or a cubin
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ops.rooms import ROOT, kernel_rooms
from sass.compiled import CompiledKernel, read
from sass.machine_code import UnknownCode
from sass.show import shown
from static import budget


def _of_ops(cuobjdump: Path, ops: list[str]) -> Iterator[tuple[str, CompiledKernel]]:
    for op, instance, stem in budget.objects(ROOT):
        if op in ops:
            for kernel in read(cuobjdump, budget.objects_folder(ROOT) / f"{stem}.o"):
                yield f"{op}/{instance.removeprefix('sm90_')}", kernel


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="npm run sass --", description=__doc__.split("\n", 1)[0])
    parser.add_argument("ops", nargs="*", help="all that have kernels when none is named")
    parser.add_argument("--file", type=Path, help="an object or a cubin in their place")
    parser.add_argument("--shared", type=int, default=0, help="bytes of dynamic shared memory that a launch takes")
    asked = parser.parse_args(argv)
    cuobjdump = Path(os.environ["OPSWAP_CUOBJDUMP"])
    known = [room.name for room in kernel_rooms()]
    if unknown := sorted(set(asked.ops) - set(known)):
        print(f"no kernels in {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    if asked.file and not asked.file.is_file():
        print(f"there is no file {asked.file}", file=sys.stderr)
        return 2
    try:
        of_file = [(asked.file.name, k) for k in read(cuobjdump, asked.file)] if asked.file else []
        print(shown(of_file or list(_of_ops(cuobjdump, asked.ops or known)), asked.shared, bool(of_file or asked.ops)))
    except UnknownCode as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
