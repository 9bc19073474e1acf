"""Has an engine that lies unpacked in a folder what an adapter uses? By its source alone: nothing of it is imported.

So another version is looked at before it is installed, without its packages. A need that the source does not show,
because it is made while the program runs, counts as missing: the probe of an installed engine has the last word.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from opswap.adapters.common.probe import Need, lost_parameters

#: No source of an engine is longer; what is gets not parsed.
MOST_BYTES = 4 << 20
#: Names that lead to names, before a circle is assumed.
MOST_STEPS = 32
_BLOCKS = (ast.If, ast.Try, ast.With)


@dataclass(frozen=True)
class Found:
    """A definition, and the module that has it."""

    module: str
    node: ast.AST


class Missing(LookupError):
    """What a source does not have; the text is a sentence."""


class SourceTree:
    """The packages of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = cache(self._module)

    def missing(self, need: Need) -> str | None:
        """Why this need is not met here, or None."""
        module, _, path = need.where.partition(":")
        try:
            found = self._member(Found(module, self.module(module)), path.split("."), need.where)
            lost = lost_parameters(need.parameters, self._parameters(found, need.where)) if need.parameters else []
        except Missing as error:
            return str(error)
        return f"{need.where} takes no {', '.join(lost)}" if lost else None

    def missing_needs(self, needs: Mapping[str, tuple[Need, ...]]) -> list[str]:
        """What each seam lacks, one sentence each."""
        return [f"{seam}: {why}" for seam, rows in needs.items() for need in rows if (why := self.missing(need))]

    def _module(self, name: str) -> ast.Module:
        stem = self.folder.joinpath(*name.split("."))
        file = next((f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()), None)
        if file is None:
            raise Missing(f"{name} is not there")
        if file.stat().st_size > MOST_BYTES:
            raise Missing(f"{file} has more than {MOST_BYTES} bytes")
        try:
            return ast.parse(file.read_text("utf-8"))
        except (SyntaxError, ValueError) as error:
            raise Missing(f"{file} cannot be parsed ({error})") from None

    def _member(self, found: Found, path: list[str], where: str, steps: int = 0) -> Found:
        for name in path:
            found = self._attribute(found, name, where, steps + 1)
        return found

    def _attribute(self, owner: Found, name: str, where: str, steps: int) -> Found:
        gone = Missing(f"{where} does not exist")
        if steps > MOST_STEPS or not isinstance(owner.node, ast.Module | ast.ClassDef):
            raise gone
        for node in reversed(list(_statements(owner.node.body))):
            if (bound := _binds(node, name)) is not None:
                return self._followed(owner, node, bound, where, steps + 1)
        if isinstance(owner.node, ast.ClassDef):
            return self._inherited(owner, name, where, steps)
        try:
            return Found(f"{owner.module}.{name}", self.module(f"{owner.module}.{name}"))
        except Missing:
            raise gone from None

    def _inherited(self, owner: Found, name: str, where: str, steps: int) -> Found:
        for base in owner.node.bases:  # type: ignore[attr-defined]
            try:
                parent = self._expression(owner.module, base, where, steps + 1)
                return self._attribute(parent, name, where, steps + 1)
            except Missing:
                continue
        raise Missing(f"{where} does not exist")

    def _expression(self, module: str, node: ast.AST, where: str, steps: int) -> Found:
        """What a name, dotted or with a subscript, stands for at the top of a module."""
        while isinstance(node, ast.Subscript):
            node = node.value
        return self._member(Found(module, self.module(module)), ast.unparse(node).split("."), where, steps)

    def _followed(self, owner: Found, node: ast.AST, bound: str, where: str, steps: int) -> Found:
        """Imports and other names for a thing lead to the thing; a value that is computed is taken as it is."""
        if isinstance(node, ast.ImportFrom):
            module = _absolute(owner, self.folder, node)
            return self._attribute(Found(module, self.module(module)), bound, where, steps)
        if isinstance(node, ast.Import):
            return Found(bound, self.module(bound))
        value = getattr(node, "value", None)
        if isinstance(owner.node, ast.Module) and isinstance(value, ast.Name | ast.Attribute):
            try:
                return self._expression(owner.module, value, where, steps)
            except Missing:  # of an object, such as the method of a list
                return Found(owner.module, node)
        return Found(owner.module, node)

    def _parameters(self, found: Found, where: str) -> list[str]:
        node = found.node
        if isinstance(node, ast.ClassDef):
            node = self._attribute(found, "__init__", where, 0).node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            raise Missing(f"{where} is not callable")
        told = node.args
        return [a.arg for a in (*told.posonlyargs, *told.args, *told.kwonlyargs)]


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a body and of the conditions in it."""
    for node in body:
        yield node
        if isinstance(node, _BLOCKS):
            parts = [node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])]
            parts += [handler.body for handler in getattr(node, "handlers", [])]
            for part in parts:
                yield from _statements(part)


def _binds(node: ast.stmt, name: str) -> str | None:
    """What a statement binds to `name`: the name it has where it comes from; None where it binds another."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return name if node.name == name else None
    if isinstance(node, ast.ImportFrom):
        return next((a.name for a in node.names if (a.asname or a.name) == name), None)
    if isinstance(node, ast.Import):
        bound = next((a for a in node.names if (a.asname or a.name.partition(".")[0]) == name), None)
        return bound and (bound.name if bound.asname else name)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return name if any(isinstance(t, ast.Name) and t.id == name for t in targets) else None


def _absolute(owner: Found, folder: Path, node: ast.ImportFrom) -> str:
    """The module that a statement imports from."""
    if node.level == 0:
        return node.module or ""
    parts = owner.module.split(".")
    is_package = folder.joinpath(*parts, "__init__.py").is_file()
    parts = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*parts, *([node.module] if node.module else [])])
