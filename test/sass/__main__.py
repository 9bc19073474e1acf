"""What the compiled kernels issue, and what they have under way: ours beside the peers'. No card is needed.

npm run sass [-- OP ...]       ops with kernels, and `products`, the emulator's own GEMM; all when none is named
npm run sass -- --file FILE    every kernel of an object or a cubin
npm run sass -- --peers        the peers' wheels taken apart again, row by row against the committed figures
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ops.rooms import ROOT, kernel_rooms
from sass import nvcc, peers
from sass.compiled import CompiledKernel, read
from sass.machine_code import UnknownCode
from sass.show import compared, rounds_shown, shown
from sass.wheels import BadWheel, download
from static import budget

PRODUCTS = "products"
SOURCE = ROOT / "test/static/products.cu"
MOST_SHARED = 227 << 10  # of a block
REFUSALS = (UnknownCode, BadWheel, nvcc.NotCompiled, peers.UnknownLoop)


def _own_products(cuobjdump: Path) -> Iterator[tuple[str, CompiledKernel]]:
    with tempfile.TemporaryDirectory(prefix="opswap-sass-") as folder:
        cubin = Path(folder) / "products.cubin"
        nvcc.cubin(SOURCE, cubin)
        for kernel in read(cuobjdump, cubin):
            yield PRODUCTS, kernel


def _of_ops(cuobjdump: Path, ops: list[str]) -> Iterator[tuple[str, CompiledKernel]]:
    for op, instance, stem in budget.objects(ROOT):
        if op in ops:
            for kernel in read(cuobjdump, budget.objects_folder(ROOT) / f"{stem}.o"):
                yield f"{op}/{instance.removeprefix('sm90_')}", kernel
    if PRODUCTS in ops:
        yield from _own_products(cuobjdump)


def _again(cuobjdump: Path, wheels: Path | None, write: bool) -> int:
    table = peers.committed()
    with tempfile.TemporaryDirectory(prefix="opswap-peers-") as folder:
        if wheels is None:
            wheels = Path(folder)
            download([peers.wheel_of(table, name) for name in table["wheels"]], wheels)
        rows = peers.again(table, peers.Apart(table, wheels, Path(folder), cuobjdump))
    unequal = {row["name"]: peers.differences(row, now) for row, now in zip(table["rows"], rows, strict=True)}
    print(compared(unequal))
    if write:
        peers.TABLE.write_text(peers.written(table, rows))
    return 0 if write or not any(unequal.values()) else 1


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="npm run sass --", description=__doc__.split("\n", 1)[0])
    parser.add_argument("ops", nargs="*", help=f"with kernels, or {PRODUCTS}; all when none is named")
    parser.add_argument("--file", type=Path, help="an object or a cubin in their place")
    parser.add_argument("--shared", type=int, default=0, help="bytes of dynamic shared memory that a launch takes")
    parser.add_argument("--rounds", action="store_true", help="who waits for which loads, in the order of addresses")
    parser.add_argument("--peers", action="store_true", help="the peers' wheels against their committed figures")
    parser.add_argument("--wheels", type=Path, help="a folder that has them; without it pip downloads them")
    parser.add_argument("--write", action="store_true", help="with --peers: commits what was found")
    asked = parser.parse_args(argv)
    known = [*(room.name for room in kernel_rooms()), PRODUCTS]
    if unknown := sorted(set(asked.ops) - set(known)):
        parser.error(f"no kernels in {', '.join(unknown)}; there are {', '.join(known)}")
    if not 0 <= asked.shared <= MOST_SHARED:
        parser.error(f"--shared needs 0 to {MOST_SHARED} bytes, came {asked.shared}")
    if asked.file and not asked.file.is_file():
        parser.error(f"there is no file {asked.file}")
    asked.all = known
    return asked


def main(argv: list[str]) -> int:
    asked = _arguments(argv)
    cuobjdump = Path(os.environ["OPSWAP_CUOBJDUMP"])
    try:
        if asked.peers:
            return _again(cuobjdump, asked.wheels, asked.write)
        of_file = [(asked.file.name, k) for k in read(cuobjdump, asked.file)] if asked.file else []
        kernels = of_file or list(_of_ops(cuobjdump, asked.ops or asked.all))
        whole = bool(of_file or asked.ops)
        print(rounds_shown(kernels) if asked.rounds else shown(kernels, asked.shared, whole))
    except REFUSALS as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
