"""Does the installed engine have every seam that its adapter uses, with the signatures that the adapter relies on?

Outside the tested range, or with a seam gone, `require` raises: an adapter that half works is worse than one that
refuses. It is called from the plugin's function, never at import, because an engine may swallow import errors.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass


class AdapterRefused(RuntimeError):
    """opswap cannot be used with this engine; the message says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Need:
    """One thing the adapter uses: `module:attribute.path`, and for a callable the parameters it passes."""

    where: str
    parameters: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """Why it cannot be used, or None."""
        module_name, _, path = self.where.partition(":")
        try:
            value: object = importlib.import_module(module_name)
        except ImportError as error:
            return f"{module_name} cannot be imported ({error})"
        for name in path.split("."):
            if not hasattr(value, name):
                return f"{self.where} does not exist"
            value = getattr(value, name)
        return self._missing_parameters(value)

    def _missing_parameters(self, value: object) -> str | None:
        if not self.parameters:
            return None
        try:
            found = inspect.signature(value).parameters  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return f"{self.where} is not callable"
        lost = [name for name in self.parameters if name not in found]
        return f"{self.where} takes no {', '.join(lost)}" if lost else None


@dataclass(frozen=True)
class Probe:
    """What one adapter was tested with: the engine's package, its versions (first and last), and the needs by seam.

    `leave_out` says how to serve without opswap.
    """

    engine: str
    package: str
    tested: tuple[str, str]
    needs: Mapping[str, tuple[Need, ...]]
    skip_env: str
    leave_out: str

    @property
    def remedy(self) -> str:
        """The command that installs a tested version."""
        return f"pip install {self.package}=={self.tested[1]}"

    def check_version(self, version: str) -> str | None:
        """Why this version of the engine is refused, or None."""
        low, high = self.tested
        if version_key(low) <= version_key(version) <= version_key(high):
            return None
        tested = low if low == high else f"{low} to {high}"
        return f"{self.engine} {version} is outside the tested range ({tested})"

    def missing_needs(self, seams: list[str]) -> list[str]:
        """What the given seams lack in this engine, one sentence each."""
        return [f"{seam}: {why}" for seam in seams for need in self.needs.get(seam, ()) if (why := need.missing())]

    def require(self, version: str, seams: list[str]) -> None:
        """Raises AdapterRefused when this engine is not one that the adapter was tested with."""
        reason = self.check_version(version)
        if reason is not None:
            raise AdapterRefused(f"opswap: {reason}; install {self.package}=={self.tested[1]}, or {self.leave_out}")
        lost = self.missing_needs(seams)
        if lost:
            names = ",".join(sorted({sentence.partition(":")[0] for sentence in lost}))
            raise AdapterRefused(
                f"opswap: {self.engine} {version} lacks what the adapter uses: {'; '.join(lost)}; "
                f"is this a patched build? {self.skip_env}={names} leaves these seams to {self.engine}"
            )


def version_key(text: str) -> tuple[int, ...]:
    """The numeric release of a version string; `0.33.0+cpu` and `0.33.0` are the same release."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()
