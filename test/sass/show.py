"""The tables of `npm run sass`."""

from __future__ import annotations

from typing import Any

from roofline.cards import DEVICES
from roofline.occupancy import WARP, WARPS, occupancy
from sass import peers, weights
from sass.compiled import CompiledKernel
from sass.graph import BY_TABLE
from sass.memory import copies, parts, rounds
from sass.occupied import LATENCY_NS, bounds
from sass.products import Together, main_loops, together

Named = tuple[str, CompiledKernel]
LOADS = "of; kernel; regs; stack; threads; on SM; limit; part; issue; loads; stores; under way; x16"
PRODUCTS = (
    "of; kernel; regs; stack; loop; WGs; tensor; issue; /100; mufu; shared; waits; BAR; SYNCS; "
    "overlapped; alternating; alone; busiest"
)
WEIGHTS = "of; kernel; loop; bytes; clocks"
LEGEND_LOADS = f"""\
threads: of a block, on SM: that an SM holds by registers and static shared memory, and what limits them. part: a loop
without the loops in it, that which loads most first; what is outside of loops; or the whole kernel. issue: its
instructions, loads, stores: bytes of a thread; both sides of a branch count. under way: the most bytes of loads that a
thread waits for at once, x16: loads of 16 bytes. {"/".join(DEVICES)}: bytes under way on an SM over its share of the
bandwidth times {LATENCY_NS} ns (assumed). Below 1 the latency bounds it; above 1 it does not, which says nothing of how
fast it is."""
LEGEND_PRODUCTS = """\
One pass of innermost loops with products, for one warp of each of WGs warpgroups. tensor, issue, mufu, shared: cycles
of a sub-partition. /100: issue slots for 100 tensor cycles. waits: for products with nothing else under way, and with a
group under way. BAR, SYNCS: named barriers, mbarrier operations. overlapped, alternating, alone: the tensor cores' use
if all warpgroups overlap, if one fills another's gaps, if nothing overlaps. It brackets and compares, it does not
predict: latency of memory and barriers, clocks, caches and launches are not in it."""
LEGEND_WEIGHTS = f"""\
Loops whose products have at most {weights.NARROW} columns: their rows are weights, their columns tokens. bytes: of
weights that a pass takes, all warpgroups together. clocks: of the tensor cores of {"/".join(DEVICES)}, or of what is
busier; then bytes for each clock over what the card's memory delivers to an SM. Below 1 the loop is slower than memory:
an H20's tensor cores are, from 48 columns on."""


def lined(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def load_rows(of: str, kernel: CompiledKernel, shared: int, whole: bool) -> list[list[str]]:
    held = occupancy(kernel.registers, kernel.shared + shared, kernel.threads)
    on_sm = min(held.blocks * -(-kernel.threads // WARP), WARPS) * WARP
    what = [of, kernel.short, str(kernel.registers), str(kernel.stack), str(kernel.threads), str(on_sm), held.limit]
    rows = []
    for part in parts(kernel.graph)[: None if whole else 1]:
        bound = [f"{b:.2f}" for b in bounds(part.under.bytes, on_sm).values()]
        sizes = [str(n) for n in (part.issue, part.loaded, part.stored, part.under.bytes, part.under.wide)]
        rows.append([*what, part.where, *sizes, *bound])
    return rows


def _product_row(what: list[str], loops: str, warpgroups: int, t: Together) -> list[str]:
    per_100 = f"{100 * t.issue / t.tensor:.1f}"
    uses = [f"{u:.3f}" for u in (t.overlapped, t.alternating, t.alone)]
    waits = f"{t.waits_idle}/{t.waits_under_way}"
    sizes = [str(t.tensor), str(t.issue), per_100, str(t.mufu), str(t.shared), waits]
    barriers = [str(t.named_barriers), str(t.mbarriers)]
    return [*what, loops, str(warpgroups), *sizes, *barriers, *uses, f"{t.busiest} {t.busiest_share:.2f}"]


def _shapes(number: int, shapes: dict[str, int]) -> str:
    named = (f"{n} {shape.replace('GMMA.', '')}" for shape, n in sorted(shapes.items()))
    return f"{number}: " + "+".join(named)


def product_rows(of: str, kernel: CompiledKernel) -> list[list[str]]:
    what = [of, kernel.short, str(kernel.registers), str(kernel.stack)]
    groups = kernel.math_warpgroups
    return [
        _product_row(what, _shapes(number, loop.shapes), groups, together([(loop, groups)]))
        for number, loop in enumerate(main_loops(kernel.graph))
    ]


def weight_rows(of: str, kernel: CompiledKernel) -> list[list[str]]:
    rows = []
    for one in weights.taken(kernel):
        what = [of, kernel.short, _shapes(one.number, one.loop.shapes), str(one.bytes)]
        clocks = "/".join(str(one.clocks(card)) for card in DEVICES)
        rows.append([*what, clocks, *(f"{one.over(card):.2f}" for card in DEVICES)])
    return rows


def peer_rows(table: dict[str, Any]) -> list[list[str]]:
    rows = []
    for row in table["rows"]:
        figures = dict(row["figures"])
        shapes = figures.pop("shapes")
        what = [peers.wheel_of(table, row["wheel"]).name, f"{row['name']} {row['tile']}"]
        what += [str(figures.pop("registers")), str(figures.pop("stack"))]
        loops = "; ".join(_shapes(loop["number"], s) for loop, s in zip(row["loops"], shapes, strict=True))
        groups = sum(loop["warpgroups"] for loop in row["loops"])
        rows.append(_product_row(what, loops, groups, Together(**figures)))
    return rows


def remarks(of: str, kernel: CompiledKernel, has_loads: bool, has_loops: bool) -> list[str]:
    found = []
    if kernel.stack:
        found.append(f"{kernel.stack} bytes of stack")
    if unseen := copies(kernel.code):
        found.append(f"{', '.join(unseen)}: their bytes are not among those under way")
    if any(i.name in BY_TABLE for i in kernel.code):
        found.append("branches by a table, taken to lead to what stands behind them")
    if not has_loops and any(i.code.startswith(("HGMMA", "QGMMA", "IGMMA")) for i in kernel.code):
        found.append("products, but no main loop")
    elif not has_loops and not has_loads:
        found.append("neither a main loop nor loads from global memory")
    return [f"{of} {kernel.short}: {text}" for text in found]


def shown(kernels: list[Named], shared: int, whole: bool) -> str:
    """`whole`: every part with loads, not only the one that loads most."""
    loads, products, narrow, notes = [], [], [], []
    for of, kernel in kernels:
        own_loads, own_products = load_rows(of, kernel, shared, whole), product_rows(of, kernel)
        notes += remarks(of, kernel, bool(own_loads), bool(own_products))
        loads += own_loads
        products += own_products
        narrow += weight_rows(of, kernel)
    texts = [lined([[*LOADS.split("; "), *DEVICES], *loads]), LEGEND_LOADS] if loads else []
    if products:
        texts += [lined([PRODUCTS.split("; "), *products, *peer_rows(peers.committed())]), LEGEND_PRODUCTS]
    if narrow:
        texts += [lined([[*WEIGHTS.split("; "), *DEVICES], *narrow]), LEGEND_WEIGHTS]
    return "\n\n".join([*texts, *(["\n".join(notes)] if notes else [])])


def rounds_shown(kernels: list[Named]) -> str:
    """Who waits for which loads. Both sides of a branch are in it: it is for reading, and its length says nothing."""
    lines = []
    for of, kernel in kernels:
        lines.append(f"{of} {kernel.short}")
        for r in rounds(kernel.code):
            lines.append(f"  {r.at:#07x} {r.user.code} waits for {', '.join(f'{at:#x}' for at in r.loads)}")
    return "\n".join(lines)


def compared(unequal: dict[str, list[str]]) -> str:
    """A line for each committed row of the peers."""
    lines = [[name, "equal" if not texts else f"unequal: {'; '.join(texts)}"] for name, texts in unequal.items()]
    return lined(lines)
