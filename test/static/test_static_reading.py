"""The example of kernels/README.md that shows how to read `npm run sass`: its tables are what the tool says."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import opswap
import pytest
from ops.rooms import ROOT
from sass import compiled, nvcc, peers, show
from static import budget

STATUS = opswap.version()["device_status"]
pytestmark = pytest.mark.skipif("this build has no CUDA kernels" in STATUS, reason=STATUS)
SECTION = (ROOT / "kernels/README.md").read_text().split("## Reading what was compiled\n")[1].split("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.M | re.S)


def cells(table: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]


@pytest.fixture(autouse=True)
def same_nvcc() -> None:
    of = json.loads((ROOT / budget.TABLE).read_text())["nvcc"]
    if nvcc.release() != of:
        pytest.skip(f"the page's figures are of nvcc {of}, {nvcc.release()} compiles here")


def kernels(folder: Path, source: Path) -> list[compiled.CompiledKernel]:
    nvcc.cubin(source, folder / "read.cubin")
    return compiled.read(Path(os.environ["OPSWAP_CUOBJDUMP"]), folder / "read.cubin")


def test_the_table_of_loads_is_of_the_source_above_it(tmp_path: Path) -> None:
    (source,) = blocks("cpp")
    (tmp_path / "sums.cu").write_text(source)
    own = [row for k in kernels(tmp_path, tmp_path / "sums.cu") for row in show.load_rows("sums", k, 0, whole=True)]
    head, *rows = cells(blocks("text")[0])
    assert rows == [row[1:] for row in own]
    assert head == [*show.LOADS.split("; ")[1:], *show.DEVICES]


def test_the_table_of_products_is_of_the_emulators_gemm_and_a_peer(tmp_path: Path) -> None:
    own = kernels(tmp_path, ROOT / "test/static/products.cu")
    there = [row for k in own for row in show.product_rows("products", k)] + show.peer_rows(peers.committed())
    head, *rows = cells(blocks("text")[1])
    assert head == show.PRODUCTS.split("; ")
    assert len(rows) == 2
    assert [row for row in rows if row not in there] == []
