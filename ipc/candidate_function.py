"""The one function of a Python file that is an op's kernel: found by name, and held to the op's argument list."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from .candidate_config import refused

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def checked_function(module: ModuleType, spec: dict[str, Any], named: str | None, path: Path) -> Callable[..., None]:
    """The function `named`, else that of the op's name, else the only public one. Raises IpcError CANDIDATE."""
    name = named or _name(module, spec["op"], path)
    function = getattr(module, name, None)
    if not callable(function):
        public = ", ".join(_public(module)) or "none"
        raise refused(f"{path}: has no function {name!r}; its public functions: {public}")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise refused(f"{path}: {name} is a coroutine or a generator, needs to be a plain function")
    if trouble := _difference(function, spec):
        wanted = ", ".join(arg["name"] for arg in spec["args"])
        raise refused(f"{path}: {name}: {trouble}; {spec['op']} has ({wanted})")
    return function


def _name(module: ModuleType, op: str, path: Path) -> str:
    public = _public(module)
    if op in public or len(public) != 1:
        return op
    return public[0]


def _public(module: ModuleType) -> list[str]:
    """Functions that the file itself defines."""
    own = [name for name, value in vars(module).items() if inspect.isfunction(value) and not name.startswith("_")]
    return [name for name in own if vars(module)[name].__module__ == module.__name__]


def _difference(function: Callable[..., None], spec: dict[str, Any]) -> str:
    """The first argument that is not as the op has it; empty where all are."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        return f"its argument list cannot be read: {error}"
    wanted = [arg["name"] for arg in spec["args"]]
    for number, parameter in enumerate(parameters, 1):
        if parameter.kind not in POSITIONAL:
            return f"argument {number}, {str(parameter)!r}, cannot be given by position"
        if number > len(wanted):
            return f"argument {number}, {parameter.name!r}, is one more than the op has"
        if parameter.name != wanted[number - 1]:
            return f"argument {number} is {parameter.name!r}, expected {wanted[number - 1]!r}"
    if len(parameters) < len(wanted):
        return f"argument {len(parameters) + 1}, {wanted[len(parameters)]!r}, is missing"
    return ""
