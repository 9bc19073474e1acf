"""docs/loaders.md from docs/loaders.json: `python page.py` writes it, a test holds it to that."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "loaders.json"
PAGE = ROOT / "docs" / "loaders.md"
HEAD = """# Which reader loads which layout

Tiny models of each family, converted to each layout and loaded by the reader's own code on a CPU, every parameter
poisoned before: `npm run loaders -- --record` made this page and [loaders.json](loaders.json). No kernel ran, and for
engines a card of capability 9.0 was played.

- **right**: every tensor of the source is in the reader's parameters: codes times scales to 30 dB in FP8 and 18 dB in
  INT4, all else bit for bit.
- **refused**: the reader was seen to fail; `plan` says so, and names its file and what loads instead. With
  `--for READER` nothing is written.
- **wrong**, **raises**: of compressed-tensors alone, which is part of the other readers. `plan` speaks for those, and
  knows the versions that they bring.
- **no source**: the layout cannot be made of this model; `convert` says why.
"""


def word(row: dict) -> str:
    if row["result"].startswith("refused"):
        return "no source"
    if not row["plan"]:
        return row["result"].split(":")[0]
    if row["result"] == "right":
        return "right" if row["plan"] == "loads" else "right, refused"
    return "refused" if row["plan"] != "loads" else "**WRONG**"


def table(who: dict) -> list[str]:
    layouts = list(dict.fromkeys(row["layout"] for row in who["cells"]))
    families = list(dict.fromkeys(row["family"] for row in who["cells"]))
    cells = {(row["family"], row["layout"]): word(row) for row in who["cells"]}
    lines = [f"## {who['name']} {who['version']}, {who['date']}", ""]
    lines += ["| " + " | ".join(["", *(f"`{one}`" for one in layouts)]) + " |"]
    lines += ["| " + " | ".join(["---"] * (1 + len(layouts))) + " |"]
    lines += ["| " + " | ".join([family, *(cells[family, one] for one in layouts)]) + " |" for family in families]
    return lines


def refusals(who: dict) -> list[str]:
    """Each reason once, with the families and layouts that it is of."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in who["cells"]:
        if word(row) == "refused":
            reason = row["plan"].removeprefix("refused: "), row["remedy"]
            found.setdefault(reason, []).append(f"{row['family']} `{row['layout']}`")
    lines = ["", "Refused, and what to do:", ""] if found else []
    return lines + [f"- {problem}: {remedy}. ({', '.join(cells)})" for (problem, remedy), cells in found.items()]


def page(record: dict) -> str:
    parts = [HEAD.splitlines()] + [[*table(who), *refusals(who)] for who in record.values()]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(RECORD.read_text())))
