"""Validators built from messages.json when this module is imported: nothing about a message is written twice.

A validator takes a decoded value and returns a copy that holds declared keys only, so that unknown keys are ignored
everywhere at once. It raises FieldError, whose path grows on the way out: the good case builds no path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

Field = dict[str, Any]
Validator = Callable[[Any], Any]

SPEC: dict[str, Any] = json.loads(Path(__file__).with_name("messages.json").read_text("utf-8"))
PROTOCOL: int = SPEC["protocol"]
LIMITS: dict[str, int] = {name: limit["value"] for name, limit in SPEC["limits"].items()}
SERVICES: dict[str, list[str]] = SPEC["services"]
SAFE_INT = 2**53 - 1
INT64 = 2**63


class FieldError(Exception):
    """A value is not as declared; `path` leads to it and `problem` says what was expected and what came."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path = ""
        self.problem = problem

    def inside(self, where: str) -> FieldError:
        """The same error, seen from one level further out."""
        self.path = where + ("" if self.path[:1] in ("", "[") else ".") + self.path
        return self


def shown(value: Any) -> str:
    """A value for an error message: short, whatever came."""
    text = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


def _integer(low: int, high: int) -> Validator:
    def check(value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise FieldError(f"expected an integer from {low} to {high}; got {shown(value)}")

    return check


def _number(low: float | None, high: float | None) -> Validator:
    def check(value: Any) -> float:
        if type(value) not in (int, float):
            raise FieldError(f"expected a number; got {shown(value)}")
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise FieldError(f"expected a number from {low} to {high}; got {shown(value)}")
        return cast(float, value)

    return check


def _exactly(kind: type, words: str) -> Validator:
    def check(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise FieldError(f"expected {words}; got {shown(value)}")

    return check


def _string(low: int, high: int, pattern: str | None) -> Validator:
    matches = re.compile(pattern).fullmatch if pattern else None

    def check(value: Any) -> str:
        if type(value) is not str:
            raise FieldError(f"expected a string; got {shown(value)}")
        size = len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        if not low <= size <= high:
            raise FieldError(f"expected a string of {low} to {high} bytes; got {size}")
        if matches and not matches(value):
            raise FieldError(f"expected a string like {pattern}; got {shown(value)}")
        return value

    return check


def _bytes(high: int) -> Validator:
    def check(value: Any) -> bytes:
        if type(value) is not bytes:
            raise FieldError(f"expected bytes; got {shown(value)}")
        if len(value) > high:
            raise FieldError(f"expected at most {high} bytes; got {len(value)}")
        return value

    return check


def _list(item: Validator, low: int, high: int) -> Validator:
    def check(value: Any) -> list[Any]:
        if type(value) not in (list, tuple):
            raise FieldError(f"expected a list; got {shown(value)}")
        if not low <= len(value) <= high:
            raise FieldError(f"expected {low} to {high} entries; got {len(value)}")
        try:
            return [item(entry) for entry in value]
        except FieldError as error:
            raise error.inside(f"[{_first_refused(item, value)}]") from None

    return check


def _first_refused(item: Validator, value: Sequence[Any]) -> int:
    """Where a list goes wrong; looked for afterwards, so that the good case counts nothing."""
    for index, entry in enumerate(value):
        try:
            item(entry)
        except FieldError:
            return index
    return len(value)


def _map(item: Validator, high: int) -> Validator:
    text = _string(0, LIMITS["string"], None)

    def check(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise FieldError(f"expected a map; got {shown(value)}")
        if len(value) > high:
            raise FieldError(f"expected at most {high} entries; got {len(value)}")
        return {text(key): item(entry) for key, entry in value.items()}

    return check


def _enum(values: list[str]) -> Validator:
    def check(value: Any) -> str:
        if type(value) is str and value in values:
            return value
        raise FieldError(f"expected one of {', '.join(values)}; got {shown(value)}")

    return check


def _struct(fields: dict[str, Field]) -> Validator:
    members = [(name, _validator(field), bool(field.get("optional"))) for name, field in fields.items()]

    def check(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise FieldError(f"expected a map; got {shown(value)}")
        checked: dict[str, Any] = {}
        name = ""
        try:
            for name, validate, optional in members:
                if name in value:
                    checked[name] = validate(value[name])
                elif not optional:
                    raise FieldError("is missing")
        except FieldError as error:
            raise error.inside(name) from None
        return checked

    return check


KINDS: dict[str, type] = {"bool": bool, "int64": int, "float": float, "string": str, "null": type(None)}


def _union(members: list[Field]) -> Validator:
    """The Python type alone decides which member a value must be, so nothing is tried in vain."""
    by_type = {KINDS.get(member["type"], dict): _validator(member) for member in members}
    names = ", ".join(str(member["type"]) for member in members)

    def check(value: Any) -> Any:
        validate = by_type.get(type(value))
        if validate is None:
            raise FieldError(f"expected one of {names}; got {shown(value)}")
        return validate(value)

    return check


def _named(name: str) -> Validator:
    body = SPEC["types"][name]
    if "fields" in body:
        return _struct(body["fields"])
    return _enum(body["enum"]) if "enum" in body else _union(body["union"])


def _plain(field: Field) -> Validator:
    kind, low, high = field["type"], field.get("min"), field.get("max")
    if kind == "string":
        return _string(low or 0, high or LIMITS["string"], field.get("pattern"))
    if kind == "int":
        return _integer(-SAFE_INT if low is None else low, SAFE_INT if high is None else high)
    if kind == "list":
        return _list(_validator(field["of"]), low or 0, high or LIMITS["list"])
    simple: dict[str, Callable[[], Validator]] = {
        "int64": lambda: _integer(-INT64, INT64 - 1),
        "float": lambda: _number(low, high),
        "bool": lambda: _exactly(bool, "true or false"),
        "null": lambda: _exactly(type(None), "null"),
        "bytes": lambda: _bytes(high or LIMITS["string"]),
        "json": lambda: lambda value: value,
        "map": lambda: _map(_validator(field["of"]), high or LIMITS["list"]),
        "enum": lambda: _enum(field["values"]),
    }
    return simple[kind]() if kind in simple else _named(kind)


def _validator(field: Field) -> Validator:
    plain = _plain(field)
    if not field.get("nullable"):
        return plain
    return lambda value: None if value is None else plain(value)


def validator_of(name: str) -> Validator:
    """Of a named type, for what is kept in files."""
    return _named(name)


ENVELOPE = _struct(SPEC["envelope"]["request"])
REQUESTS: dict[str, Validator] = {verb: _struct(body["request"]) for verb, body in SPEC["verbs"].items()}
RESULTS: dict[str, Validator] = {verb: _struct(body["result"]) for verb, body in SPEC["verbs"].items()}
REPLY = _struct(SPEC["envelope"]["reply"])
