"""Plans of products as nvcc works them out are those of g++."""

from __future__ import annotations

from pathlib import Path

import opswap
import pytest
from roofline.cards import DEVICES
from roofline.plans import KINDS, planned
from roofline.products import DENSE, TOKENS
from sass import nvcc

STATUS = opswap.version()["device_status"]
pytestmark = pytest.mark.skipif("this build has no CUDA kernels" in STATUS, reason=STATUS)

HEAD = """
#include "common/device/product_plan.h"
using namespace opswap;
constexpr bool is(ProductPlan p, int rows, int columns, int down, int across, int band, int split, int pair,
                  int clusters) {
  return kProductTiles[p.tile].rows == rows && kProductTiles[p.tile].columns == columns && p.down == down &&
         p.across == across && p.band == band && p.split == split && p.pair == pair && p.clusters == clusters;
}
__global__ void none() {}
"""


def assertions() -> list[str]:
    lines = []
    for kind in KINDS:
        for number, card in enumerate(DEVICES):
            for n, k in (shape for shapes in DENSE.values() for shape in shapes):
                for m in TOKENS:
                    p = planned(kind, m, n, k, card, -1)
                    words = (p.rows, p.columns, p.down, p.across, p.band, p.split, p.pair, p.clusters)
                    shape = f"{{{m}, {n}, {k * kind.bytes}, {kind.widest}, false, true, {kind.lowest}}}"
                    plan = f"plan_product({shape}, kProductCards[{number}])"
                    lines.append(f'static_assert(is({plan}, {", ".join(map(str, words))}), "{kind.name} {card} {m}");')
    return lines


def test_both_compilers_make_the_same_plans(tmp_path: Path) -> None:
    lines = assertions()
    source = tmp_path / "plans.cu"
    source.write_text(HEAD + "\n".join(lines))
    nvcc.cubin(source, tmp_path / "plans.cubin")
    source.write_text(HEAD + lines[0].replace("(is(", "(!is("))
    with pytest.raises(nvcc.NotCompiled, match="static"):
        nvcc.cubin(source, tmp_path / "plans.cubin")
