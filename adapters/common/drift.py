"""Where an installed tree differs from a contract's table: a sentence for each row that drifted."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

from opswap.adapters.common.contract import Contract, Row
from opswap.adapters.common.package_text import Function, Module, PackageText, UnreadableSource


@dataclass(frozen=True)
class Parameter:
    """One parameter: how it is passed, and its default as text."""

    name: str
    kind: str
    default: str | None


@dataclass(frozen=True)
class Drift:
    """A row of the table that the tree does not have as it was read."""

    row: Row
    why: str


def drifts(contract: Contract, tree: PackageText, seams: set[str] | None = None) -> list[Drift]:
    """All rows that drifted, or those of `seams`."""
    rows = [row for row in contract.rows if seams is None or row.seam in seams]
    return [Drift(row, why) for row in rows if (why := _why(row, tree))]


def _why(row: Row, tree: PackageText) -> str:
    try:
        module = tree.module(row.module)
    except UnreadableSource as error:
        return str(error)
    if module is None:
        return f"there is no module {row.module}{_moved(row, tree)}"
    told = _KINDS[row.kind](row, module)
    return f"{told}{_moved(row, tree)}" if told == _GONE else told


_GONE = "it is not there"


def _moved(row: Row, tree: PackageText) -> str:
    defined = row.kind in ("function", "class", "variable", "attribute", "key")
    places = tree.elsewhere(row.name, row.module) if defined else []
    return f"; {', '.join(places[:3])} has one of that name" if places else ""


def parameters_of(arguments: ast.arguments) -> list[Parameter]:
    """In order; `kind` tells what is passed by position, by name, or both."""
    plain = [(a, "position") for a in arguments.posonlyargs] + [(a, "either") for a in arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + [ast.unparse(d) for d in arguments.defaults]
    found = [Parameter(a.arg, kind, default) for (a, kind), default in zip(plain, defaults, strict=True)]
    if arguments.vararg:
        found.append(Parameter(arguments.vararg.arg, "*", None))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(Parameter(argument.arg, "name", None if default is None else ast.unparse(default)))
    if arguments.kwarg:
        found.append(Parameter(arguments.kwarg.arg, "**", None))
    return found


def expected_parameters(text: str) -> list[Parameter]:
    """Those of a row, whose text is what stands between the brackets of a definition."""
    (function,) = ast.parse(f"def f({text}): ...").body
    assert isinstance(function, ast.FunctionDef)
    return parameters_of(function.args)


def signature_drift(expected: list[Parameter], found: list[Parameter]) -> str:
    """How two lists of parameters differ; empty when they do not."""
    if expected == found:
        return ""
    mine, theirs = [p.name for p in expected], [p.name for p in found]
    gone, new = [n for n in mine if n not in theirs], [n for n in theirs if n not in mine]
    told = [f"{name} is gone" for name in gone] + [f"{name} is new" for name in new]
    if [n for n in mine if n in theirs] != [n for n in theirs if n in mine]:
        told.append(f"the order is {', '.join(theirs)}")
    by_name = {p.name: p for p in found}
    for one in expected:
        other = by_name.get(one.name)
        if other and other.kind != one.kind:
            told.append(f"{one.name} is passed by {other.kind}, not by {one.kind}")
        if other and other.default != one.default:
            told.append(f"the default of {one.name} is {other.default or 'none'}, not {one.default or 'none'}")
    return f"its parameters differ: {'; '.join(told)}"


def _function(row: Row, module: Module) -> str:
    function = module.functions.get(row.name)
    if function is None:
        return _GONE
    return signature_drift(expected_parameters(row.more["parameters"]), parameters_of(function.args))


def _class(row: Row, module: Module) -> str:
    found = module.classes.get(row.name)
    if found is None:
        return _GONE
    bases = [ast.unparse(base) for base in found.bases]
    told = [f"its bases are {', '.join(bases) or 'none'}"] if bases != row.more["bases"] else []
    metaclass = next((ast.unparse(k.value) for k in found.keywords if k.arg == "metaclass"), None)
    if row.more.get("metaclass") != metaclass:
        told.append(f"its metaclass is {metaclass}")
    decorators = {ast.unparse(decorator) for decorator in found.decorator_list}
    lost = [name for name in row.more.get("decorators", []) if name not in decorators]
    told += [f"it is not decorated with {name}" for name in lost]
    return "; ".join(told)


def _assigned(row: Row, module: Module) -> str:
    if row.name not in module.assigned:
        return _GONE
    value, wanted = module.assigned[row.name], row.more.get("value")
    found = "" if value is None else ast.unparse(value)
    return "" if wanted is None or found == wanted else f"it is {found or 'not assigned by itself'}, not {wanted}"


def _op(row: Row, module: Module) -> str:
    found: tuple[Function, list[str]] | None = module.ops.get(row.name)
    if found is None:
        return _GONE
    function, writes = found
    told = signature_drift(expected_parameters(row.more["parameters"]), parameters_of(function.args))
    if writes == row.more["mutates"]:
        return told
    return "; ".join(filter(None, [told, f"it writes {', '.join(writes) or 'nothing'}"]))


def _key(row: Row, module: Module) -> str:
    value = module.assigned.get(row.name)
    if not isinstance(value, ast.Dict):
        return _GONE
    pairs = {ast.unparse(k): ast.unparse(v) for k, v in zip(value.keys, value.values, strict=True) if k is not None}
    found = pairs.get(repr(row.more["key"]))
    if found is None:
        return f"it has no {row.more['key']}"
    return "" if found == repr(row.more["value"]) else f"{row.more['key']} is {found}, not {row.more['value']!r}"


def _call(row: Row, module: Module) -> str:
    calls = module.calls(row.name)
    if not calls:
        return "it is not called"
    passed = [{*map(ast.unparse, call.args), *map(ast.unparse, call.keywords)} for call in calls]
    if any(set(row.more["passes"]) <= arguments for arguments in passed):
        return ""
    return f"no call passes {', '.join(row.more['passes'])}"


def _text(row: Row, module: Module) -> str:
    return "" if row.name in module.strings else "the module has no such string"


_KINDS: dict[str, Callable[[Row, Module], str]] = {
    "function": _function,
    "class": _class,
    "variable": _assigned,
    "attribute": _assigned,
    "op": _op,
    "key": _key,
    "call": _call,
    "text": _text,
}
