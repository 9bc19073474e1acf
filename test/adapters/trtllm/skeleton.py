"""Trees of TensorRT-LLM's names without its code, made from a contract's table, and changes planted in them.

A tree is a dict of texts by file. What a row says becomes a definition with an empty body; a planted change alters the
row before its definition is written, so a change is known by what was altered and not by how the doctor looks at it.
The fake host fills the bodies in that it needs (`Fill`), so its signatures are those of the table as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opswap.adapters.common.contract import Contract, Row

Tree = dict[str, str]


@dataclasses.dataclass(frozen=True)
class Fill:
    """Bodies by `Class.method` or name, lines for the top and the end of modules, bases and members that no row has."""

    bodies: dict[str, str] = dataclasses.field(default_factory=dict)
    tops: dict[str, str] = dataclasses.field(default_factory=dict)
    ends: dict[str, str] = dataclasses.field(default_factory=dict)
    bases: dict[str, str] = dataclasses.field(default_factory=dict)
    members: dict[str, str] = dataclasses.field(default_factory=dict)

    def function(self, row: Row, name: str) -> list[str]:
        body = self.bodies.get(row.name, "...").splitlines()
        plain = row.more["parameters"].partition(",")[0] not in ("self", "cls") and "." in row.name
        head = ["@staticmethod"] if plain else ["@classmethod"] * row.more["parameters"].startswith("cls, ")
        head = [] if row.name.endswith("__call__") else head
        return [*head, f"def {name}({row.more['parameters']}):", *[f"    {line}" for line in body]]


EMPTY = Fill()


def write(tree: Tree, folder: Path) -> Path:
    """The tree below `folder`, which then looks like site-packages."""
    for name, text in tree.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        for parent in list(file.relative_to(folder).parents)[:-1]:
            (folder / parent / "__init__.py").touch()
    return folder


def tree_of(contract: Contract, rows: list[Row] | None = None, version: str | None = None, fill: Fill = EMPTY) -> Tree:
    rows = list(contract.rows) if rows is None else rows
    modules = {row.module: [other for other in rows if other.module == row.module] for row in rows}
    tree = {file_of(module): text_of(of_it, fill) for module, of_it in modules.items()}
    tree[f"{contract.package}/version.py"] = f'__version__ = "{version or contract.first + ".0"}"\n'
    return tree


def file_of(module: str) -> str:
    return module.replace(".", "/") + ".py"


def text_of(rows: list[Row], fill: Fill = EMPTY) -> str:
    """One module. Members of a class stand in it, whatever order the rows have."""
    module = rows[0].module
    lines = [fill.tops.get(module, "")]
    classes: dict[str, list[Row]] = {}
    for row in rows:
        if row.kind == "class":
            classes.setdefault(row.name, [])
        elif row.kind in ("function", "attribute") and "." in row.name:
            classes.setdefault(row.name.partition(".")[0], []).append(row)
        else:
            lines += _plain(row, rows, fill)
    heads = {row.name: row for row in rows if row.kind == "class"}
    for name, members in classes.items():
        lines += _class(name, heads.get(name), members, fill)
    lines.append(fill.ends.get(module, ""))
    return "\n".join(lines) + "\n"


def _plain(row: Row, rows: list[Row], fill: Fill) -> list[str]:
    if row.kind == "function":
        return fill.function(row, row.name)
    if row.kind == "op":
        name, written = row.name.partition("::")[2], tuple(row.more["mutates"])
        schema = row.more["schema"]
        head = f'    @torch.library.custom_op("{row.name}", mutates_args={written!r}, schema="{schema}")'
        return ["if IS_AVAILABLE:", head, *[f"    {line}" for line in fill.function(row, name)]]
    if row.kind == "call":
        return [f"def _calls_{abs(hash(row.name))}():", f"    {row.name}({', '.join(row.more['passes'])})"]
    if row.kind == "text":
        return [f"def _reads(): return option({row.name!r})"]
    if row.kind == "key":
        return _registry(row, rows)
    return [f"{row.name} = {row.more.get('value', 'object()')}"]


def _registry(row: Row, rows: list[Row]) -> list[str]:
    """All keys of a registry at once, with the first of them."""
    of_it = [other for other in rows if other.kind == "key" and other.name == row.name]
    if of_it[0] is not row:
        return []
    return [f"{row.name} = {{", *[f"    {one.more['key']!r}: {one.more['value']!r}," for one in of_it], "}"]


def _class(name: str, head: Row | None, members: list[Row], fill: Fill) -> list[str]:
    more: dict[str, Any] = dict(head.more) if head else {"bases": [fill.bases[name]] if name in fill.bases else []}
    inside = [*more["bases"], *([f"metaclass={more['metaclass']}"] if more.get("metaclass") else [])]
    lines = [f"@{decorator}" for decorator in more.get("decorators", [])] + [f"class {name}({', '.join(inside)}):"]
    functions = {row.name.partition(".")[2]: row for row in members if row.kind == "function"}
    attributes = [row for row in members if row.kind == "attribute"]
    for row in functions.values():
        lines += [f"    {line}" for line in fill.function(row, row.name.partition(".")[2])]
    lines += [f"    {line}" for line in fill.members.get(name, "").splitlines()]
    if attributes:
        lines.append("    def _sets(self):")
        lines += [
            f"        self.{row.name.partition('.')[2]} = {row.more.get('value', 'object()')}" for row in attributes
        ]
    return [*lines, "    pass"]


@dataclasses.dataclass(frozen=True)
class Planted:
    """One change: what it is, the row that it breaks, and the tree with it."""

    what: str
    row: Row
    tree: Tree


def planted(contract: Contract) -> Iterator[Planted]:
    """Every change of a name, an argument, a default or a path, of every row that has one."""
    for at, row in enumerate(contract.rows):
        for what, changed in _changes(row):
            rows = [*contract.rows[:at], *([changed] if changed else []), *contract.rows[at + 1 :]]
            yield Planted(f"{row.where}: {what}", row, tree_of(contract, rows))


def _changes(row: Row) -> Iterator[tuple[str, Row | None]]:
    if row.kind == "call":
        yield "another argument", _with(row, passes=[f"{row.more['passes'][0]}_now"])
        return
    yield "renamed", dataclasses.replace(row, name=f"{row.name}_now")
    yield "moved", dataclasses.replace(row, module=f"{row.module}_elsewhere")
    if row.kind in ("function", "op"):
        yield from _changed_parameters(row)
    if row.kind == "class":
        yield "another base", _with(row, bases=[*row.more["bases"], "Other"])
    if row.kind == "op" and row.more["mutates"]:
        yield "writes less", _with(row, mutates=row.more["mutates"][1:])
    if row.kind == "key":
        yield "another module", _with(row, value=f"{row.more['value']}_now")
    if row.kind in ("variable", "attribute") and "value" in row.more:
        yield "another value", _with(row, value="something_else()")


def _changed_parameters(row: Row) -> Iterator[tuple[str, Row]]:
    text = row.more["parameters"]
    named = [part for part in text.split(", ") if part and not part.startswith("*") and part not in ("self", "cls")]
    yield "a required argument more", _with(row, parameters=_inserted(text, "added"))
    yield "an optional argument more", _with(row, parameters=_inserted(text, "added=None", last=True))
    if not named:
        return
    first, last = named[0], named[-1]
    yield "an argument renamed", _with(row, parameters=_replaced(text, last, last.replace("=", "_now=", 1), "_now"))
    yield "an argument less", _with(row, parameters=", ".join(p for p in text.split(", ") if p != last))
    positional = text.split("*")[0].split(", ")
    movable = [part for part in positional if part in named and "=" not in part]
    if len(movable) > 1:
        swapped = text.replace(f"{movable[0]}, {movable[1]}", f"{movable[1]}, {movable[0]}", 1)
        yield "arguments in another order", _with(row, parameters=swapped)
    with_default = next((part for part in named if "=" in part), None)
    if with_default:
        name = with_default.partition("=")[0]
        yield "another default", _with(row, parameters=_replaced(text, with_default, f"{name}='other'", ""))
    elif "*" not in text:
        yield "a default where none was", _with(row, parameters=_replaced(text, last, f"{last}=None", ""))
    assert first


def _replaced(text: str, part: str, by: str, suffix: str) -> str:
    by = by if by != part else part + suffix
    return ", ".join(by if each == part else each for each in text.split(", "))


def _inserted(text: str, argument: str, last: bool = False) -> str:
    """Behind self, or at the end of what is passed by position."""
    parts = [part for part in text.split(", ") if part]
    if last:
        at = next((i for i, part in enumerate(parts) if part.startswith("*")), len(parts))
    else:
        at = 1 if parts and parts[0] in ("self", "cls") else 0
    return ", ".join([*parts[:at], argument, *parts[at:]])


def _with(row: Row, **more: Any) -> Row:
    return dataclasses.replace(row, more={**row.more, **more})
