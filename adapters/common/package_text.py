"""An installed package as text: its modules are parsed, and nothing of them is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

MOST_BYTES = 16 << 20
MOST_FILES = 50_000
Function = ast.FunctionDef | ast.AsyncFunctionDef


class UnreadableSource(ValueError):
    """A file that cannot be parsed; the text says why."""


class Module:
    """Definitions of one module: those of its body, of its classes, and of the `if` and `try` around them."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.functions: dict[str, Function] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        self.assigned: dict[str, ast.expr | None] = {}
        self._collect(self.tree.body, "")

    def _collect(self, body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, Function):
                self.functions.setdefault(prefix + node.name, node)
                if prefix:
                    self._collect_self(node, prefix)
            elif isinstance(node, ast.ClassDef):
                self.classes.setdefault(prefix + node.name, node)
                self._collect(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.If | ast.Try | ast.With):
                for part in ("body", "orelse", "finalbody"):
                    self._collect(getattr(node, part, []), prefix)
                for handler in getattr(node, "handlers", []):
                    self._collect(handler.body, prefix)
            else:
                self._collect_assigned(node, prefix)

    def _collect_assigned(self, node: ast.stmt, prefix: str) -> None:
        for target, value in _assignments(node):
            if isinstance(target, ast.Name):
                self.assigned.setdefault(prefix + target.id, value)

    def _collect_self(self, function: Function, prefix: str) -> None:
        """What a method assigns to attributes of self; its first assignment counts, and goes before the class's own."""
        for node in ast.walk(function):
            for target, value in _assignments(node):
                if not isinstance(target, ast.Attribute) or ast.unparse(target.value) != "self":
                    continue
                if self.assigned.get(prefix + target.attr) is None:
                    self.assigned[prefix + target.attr] = value

    @cached_property
    def ops(self) -> dict[str, tuple[Function, list[str]]]:
        """Operators that decorators register with torch, by name: the function and the arguments that it writes."""
        found = {}
        for function in self.functions.values():
            for decorator in function.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("custom_op"):
                    name = ast.literal_eval(decorator.args[0])
                    written = next((k.value for k in decorator.keywords if k.arg == "mutates_args"), None)
                    found[name] = function, [] if written is None else list(ast.literal_eval(written))
        return found

    def calls(self, name: str) -> list[ast.Call]:
        calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        return [call for call in calls if ast.unparse(call.func) == name]

    @cached_property
    def strings(self) -> set[str]:
        constants = (node.value for node in ast.walk(self.tree) if isinstance(node, ast.Constant))
        return {value for value in constants if isinstance(value, str)}


def _assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """(target, value) of an assignment; the value of one in a tuple is not told apart."""
    if isinstance(node, ast.AnnAssign):
        yield node.target, node.value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple):
                yield from ((part, None) for part in target.elts)
            else:
                yield target, node.value


class PackageText:
    """The package `package` in a folder: the package itself, or one that has it, such as site-packages."""

    def __init__(self, folder: Path, package: str) -> None:
        self.package = package
        self.root = folder if folder.name == package else folder / package
        self._modules: dict[str, Module | None] = {}

    @property
    def is_there(self) -> bool:
        return self.root.is_dir()

    def module(self, name: str) -> Module | None:
        """A module of the package, or None when the tree has no such file. Raises UnreadableSource."""
        if name not in self._modules:
            base = self.root.joinpath(*name.split(".")[1:])
            files = (base.with_name(f"{base.name}.py"), base / "__init__.py")
            file = next((file for file in files if file.is_file()), None)
            self._modules[name] = None if file is None else _parsed(file)
        return self._modules[name]

    @cached_property
    def version(self) -> str:
        """What the package says of itself, or nothing."""
        module = self.module(f"{self.package}.version")
        value = module and module.assigned.get("__version__")
        return str(value.value) if isinstance(value, ast.Constant) else ""

    def elsewhere(self, name: str, but: str) -> list[str]:
        """Modules besides `but` that define the function, class or variable `name`."""
        found = []
        first = name.partition(".")[0]
        for file in self._files:
            parts = file.relative_to(self.root).with_suffix("").parts
            module = ".".join((self.package, *(parts[:-1] if parts[-1] == "__init__" else parts)))
            if module == but or file.stat().st_size > MOST_BYTES or first not in file.read_text("utf-8", "replace"):
                continue
            try:
                defined = self.module(module)
            except UnreadableSource:
                continue
            if defined and any(name in names for names in (defined.functions, defined.classes, defined.assigned)):
                found.append(module)
        return found

    @cached_property
    def _files(self) -> list[Path]:
        return sorted(self.root.rglob("*.py"))[:MOST_FILES]


def _parsed(file: Path) -> Module:
    if file.stat().st_size > MOST_BYTES:
        raise UnreadableSource(f"{file} has more than {MOST_BYTES} bytes")
    try:
        return Module(file.read_text("utf-8"))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UnreadableSource(f"{file} cannot be parsed: {error}") from None
