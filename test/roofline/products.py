"""The rows of matrix products, `npm run roofline -- products`: from plans and the emulator; nothing is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ops.rooms import Room
from roofline import groups
from roofline.cards import DEVICES
from roofline.cases import case_of, has_codes, product_rooms, run
from roofline.count import Counted, summed
from roofline.error import BETWEEN, MODES, errors
from roofline.plans import KINDS, Figures, Kind, figures

PRODUCTS = "products"
#: N and K of weights: DeepSeek-V3's, those of its successor, and Qwen3-235B's.
DENSE = {
    "DeepSeek-V3": [(2112, 7168), (576, 7168), (24576, 1536), (32768, 512), (7168, 16384), (4096, 7168), (7168, 2048)],
    "DeepSeek-V4": [(2048, 7168), (65536, 1536), (8192, 1536)],
    "Qwen3-235B": [(9216, 4096), (4096, 8192)],
}
TOKENS = (8, 64, 1024, 4096)
FEW = (1, 8, 16, 32, 64)
#: What the table of the issue asks for: above these a row is named.
MOST_IMBALANCE, MOST_TRAFFIC = 1.05, 1.1


def useful(launches: list[dict]) -> float:
    """Of what the tensor cores multiply, the share that is no padding."""
    rows = summed(launches, "wgmma_useful_rows") / max(1, summed(launches, "wgmma_rows"))
    return rows * summed(launches, "wgmma_useful_columns") / max(1, summed(launches, "wgmma_columns"))


def useful_at(room: Room, counted: Counted, m: int) -> float | str:
    """On the emulator, with `m` rows of each group; the dtypes are the first that the kernels take."""
    ran = run(room, counted, case_of(room, m, 128, 256), room.type_choices())
    return ran if isinstance(ran, str) else useful(ran.launches)


def lined(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def useful_table(counted: Counted) -> str:
    rows = [["useful share of wgmma", *(f"M {m}" for m in FEW)]]
    for room in product_rooms():
        found = [useful_at(room, counted, m) for m in FEW]
        rows.append([room.name, *(f if isinstance(f, str) else f"{f:.3f}" for f in found)])
    return lined(rows)


def error_table(counted: Counted) -> str:
    rows = [["1 - 2<x,y>/(x.x + y.y)", *(f"{mode}, {fill}" for mode in MODES for fill in BETWEEN)]]
    for room in filter(has_codes, product_rooms()):
        rows.append([room.name, *(f"{error:.1e}" for error in errors(room, counted).values())])
    return lined(rows)


def each_figure() -> Iterator[tuple[Kind, int, int, int, dict[str, Figures]]]:
    for kind in KINDS:
        for n, k in (shape for shapes in DENSE.values() for shape in shapes):
            for m in TOKENS:
                yield kind, m, n, k, {card: figures(kind, m, n, k, card) for card in DEVICES}


def _tile(of: Figures) -> str:
    plan = of.plan
    return f"{plan.rows}x{plan.columns}{' swap' * plan.swap}{f' /{plan.split}' if plan.split > 1 else ''}"


HEAD = ("of", "N x K", "M", "whole", "cut", "cut, memory", "L2", "memory", "memory's time", "tiles")
LEGEND = f"""\
{"/".join(DEVICES)}. Clocks of the slowest SM over the least that it can have, by bisection, with the fixed cost of each
task: `whole` with tiles whole, `cut` with tiles cut anywhere along K, `cut, memory` where neither ends before memory
has moved the least bytes. Bytes over the least: `L2` what blocks ask L2 for, `memory` what L2 asks memory for, if all
blocks go at one pace and L2 keeps what was used last, half of its size. memory's time: of the slowest SM's, what memory
takes for its bytes. tiles: of the last card, of groups on each; swap: its rows are weights; /n: K split over n blocks.
Rows of groups are uneven, by 0.7 to 1.3, or as tokens choose experts by chance. Computed from the plan; nothing is
measured."""


def plan_table(figured: list[tuple[Kind, int, int, int, dict[str, Figures]]]) -> str:
    def of(cards: dict[str, Figures], read: Callable[[Figures], float]) -> str:
        return "/".join(f"{read(f):.2f}" for f in cards.values())

    rows = [list(HEAD)]
    for kind, m, n, k, cards in figured:
        ratios = [of(cards, lambda f: f.whole), of(cards, lambda f: f.cut), of(cards, lambda f: f.time)]
        bytes_ = [of(cards, lambda f: f.asked), of(cards, lambda f: f.memory), of(cards, lambda f: f.memory_share)]
        rows.append([kind.name, f"{n} x {k}", str(m), *ratios, *bytes_, _tile(list(cards.values())[-1])])
    return lined(rows)


GROUP_HEAD = ("of", "groups", "N x K", "whole", "cut", "L2", "memory", "tiles")


def group_table(cases: list[groups.Case]) -> str:
    rows = [list(GROUP_HEAD)]
    for case in cases:
        on = [(plan, DEVICES[card]["sms"]) for card, plan in case.plans.items()]
        ratios = ["/".join(f"{p.slowest(sms) / p.least(sms, cut):.2f}" for p, sms in on) for cut in (False, True)]
        moved = zip(*(case.traffic(card) for card in case.plans), strict=True)
        ratios += ["/".join(f"{ratio:.2f}" for ratio in cards) for cards in moved]
        tiles = "/".join(f"{p.rows}x{p.columns}{' swap' * p.swap}" for p in case.plans.values())
        rows.append([f"{case.kind}, {case.elements}", case.rows, f"{case.n} x {case.k}", *ratios, tiles])
    return lined(rows)


def summary(figured: list[tuple[Kind, int, int, int, dict[str, Figures]]]) -> str:
    """How many plans are above what the table asks for, and whether memory is what they wait for."""
    every = [f for *_, cards in figured for f in cards.values()]
    above = {
        "whole": sum(f.whole > MOST_IMBALANCE for f in every),
        "cut": sum(f.cut > MOST_IMBALANCE for f in every),
        "cut, memory": sum(f.time > MOST_IMBALANCE for f in every),
    }
    more = [f for f in every if f.memory > MOST_TRAFFIC]
    waits = max((f.memory_share for f in more), default=0.0)
    imbalance = ", ".join(f"{name} {count}" for name, count in above.items())
    return (
        f"of {len(every)} plans above {MOST_IMBALANCE}: {imbalance}; memory above {MOST_TRAFFIC}: {len(more)}, "
        f"for which memory takes at most {waits:.2f} of the slowest SM's time"
    )


def shown(counted: Counted | None) -> str:
    figured = list(each_figure())
    tables = [useful_table(counted), error_table(counted)] if counted else []
    tables += [plan_table(figured), group_table(list(groups.each_case(moves=True)))]
    return "\n\n".join([*tables, f"{summary(figured)}\n{LEGEND}"])
