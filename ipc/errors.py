"""The one exception of the control path, and the code that reads other libraries' errors into it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache
from typing import Any

from .messages import SPEC


class IpcError(Exception):
    """A refusal with a stable code, a sentence for a person, and a remedy; `ranks` says which ranks refused."""

    def __init__(
        self, code: str, message: str, remedy: str | None = None, ranks: Sequence[dict[str, Any]] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy_of(code) if remedy is None else remedy
        self.ranks = list(ranks)

    def wire(self) -> dict[str, Any]:
        """As `WireError` of messages.json."""
        fields: dict[str, Any] = {"code": self.code, "message": self.message[:4000], "remedy": self.remedy}
        return {**fields, "ranks": self.ranks} if self.ranks else fields


def remedy_of(code: str) -> str:
    """What the table of `code` says to do: messages.json, else the library's own."""
    found = SPEC["errors"].get(code) or _library().get(code, {})
    return str(found.get("remedy", ""))


@cache
def _library() -> dict[str, dict[str, Any]]:
    import opswap  # at call time: opswap's own modules read this one

    return {row["name"]: row for row in opswap.manifest()["errors"]}


def nearest(name: str, names: list[str]) -> str:
    """The end of a sentence that refuses a name; empty when none is near."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def code_of(error: BaseException, default: str = "OPSWAP_E_UNEXPECTED") -> str:
    """The code that an error of the native library carries, or `default`."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) and code.startswith("OPSWAP_E_") else default
