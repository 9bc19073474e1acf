"""The one exception of the control path, and the code that reads other libraries' errors into it."""

from __future__ import annotations

from collections.abc import Sequence
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
    """What messages.json says to do about `code`; empty for a code of the native library."""
    return str(SPEC["errors"].get(code, {}).get("remedy", ""))


def code_of(error: BaseException, default: str = "OPSWAP_E_INTERNAL") -> str:
    """The code that an error of the native library carries, or `default`."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) and code.startswith("OPSWAP_E_") else default
