"""Why no evidence is given: a code, a sentence, and what to do."""

from __future__ import annotations


class Refused(Exception):
    """One line with a stable code (docs/errors.md) and its remedy."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(f"{message} [{code}]; {remedy}")
        self.code, self.message, self.remedy = code, message, remedy

    def as_json(self) -> dict[str, dict[str, str]]:
        return {"error": {"code": self.code, "message": self.message, "remedy": self.remedy}}
