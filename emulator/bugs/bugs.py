"""Writes the kernels with seeded bugs: table.py says what is edited and what must be said of it.

python3 bugs.py FOLDER    writes the edited sources, a file that runs each, and bugs.cmake
"""

from __future__ import annotations

import sys
from pathlib import Path

from table import BUGS, CLEAN, HOLES
from table_clusters import CLUSTER_BUGS
from table_pdl import PDL_BUGS
from table_product_rooms import PRODUCT_ROOM_BUGS
from table_products import PRODUCT_BUGS
from table_registers import REGISTER_BUGS
from table_rooms import ROOM_BUGS, ROOMS

GLOBALS = (
    "gemm_example",
    "rms_norm_example",
    "tile_example",
    "norm_rows_example",
    "cluster_sum_example",
    "overlap_example",
)
# Names in what parts of products compile to beside the kernels: bugs of one name would be one function in the program.
PARTS = ("ProductMemory", "encode_out")


def write(path: Path, text: str) -> None:
    """Only when it differs: what is built from it stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def runner(name: str, drive: str) -> str:
    own = "".join(f"#define {kernel} {kernel}_{name}\n" for kernel in GLOBALS)
    if drive in ROOMS:  # as the build of a room's instance
        op = drive.removeprefix("room_")
        own = "".join(f"#define {part} {part}_{name}\n" for part in PARTS)
        own += f'#define OPSWAP_PASS {name}\n#define OPSWAP_OP "{op}"\n#define OPSWAP_SCALAR bf16\n'
    return f'#define OPSWAP_BUG "{name}"\n{own}#include "bugs/drive_{drive}.h"\n'


def main(folder: Path) -> None:
    rows, cmake = [], []
    for drive in CLEAN + ROOMS:
        write(folder / f"clean_{drive}.cpp", runner(f"clean_{drive}", drive))
        rows.append(f'{{"clean_{drive}", "", "", 0, "", ""}}')
        cmake.append(f'add_kernel(clean_{drive} "plain;asan;tsan" "" "")')
    for bug in BUGS + CLUSTER_BUGS + ROOM_BUGS + PDL_BUGS + REGISTER_BUGS + PRODUCT_BUGS + PRODUCT_ROOM_BUGS + HOLES:
        write(folder / bug.name / bug.file, bug.source())
        write(folder / f"{bug.name}.cpp", runner(bug.name, bug.drive))
        place = bug.place(bug.at)
        also, there = (bug.also[0], bug.place(bug.also[1])) if bug.also else ("", "")
        places = "|".join(p for p in (place, there) if p)
        rows.append(f'{{"{bug.name}", "{bug.words}", "{place}", {bug.seeds}, "{also}", "{there}"}}')
        cmake.append(f'add_kernel({bug.name} "{bug.build}" "{bug.words}" "{places}")')
    head = "#pragma once\nstruct Expected {\n  const char *name, *words, *place;\n  int seeds;\n"
    head += "  const char *also, *also_place;\n};\n"
    write(folder / "expected.gen.h", head + "constexpr Expected kExpected[] = {" + ",\n".join(rows) + "};\n")
    write(folder / "bugs.cmake", "\n".join(cmake) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
