"""Does the installed engine have every seam that its adapter uses, with the signatures that the adapter relies on?

With a version that was not looked at or does not work, or with a seam gone, `require` raises: an adapter that half
works is worse than one that refuses. It is called from the plugin's function, never at import, because an engine may
swallow import errors.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from opswap.adapters.common.compat import ACCEPT_ENV, Compat, CompatError, accepted, read

#: What to do where no version was run: the counters prove it.
LOOK = "send a request, and see by `opswap ops` whether the counters rise"


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
        lost = lost_parameters(self.parameters, found)
        return f"{self.where} takes no {', '.join(lost)}" if lost else None


def lost_parameters(wanted: Iterable[str], found: Collection[str]) -> list[str]:
    """Of the parameters that an adapter passes, those that a callable does not have."""
    return [name for name in wanted if name not in found]


@dataclass(frozen=True)
class Verdict:
    """What is said of one version of an engine. `state` is the doctor's: ok, warn, or fail for one that is refused."""

    state: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Probe:
    """What one adapter uses of its engine: the needs by seam; `versions` is the file of the versions it was tried with.

    `leave_out` says how to serve without opswap.
    """

    engine: str
    package: str
    versions: Path
    needs: Mapping[str, tuple[Need, ...]]
    skip_env: str
    leave_out: str

    @property
    def compat(self) -> Compat:
        """Read when it is asked for, not at import, where an engine may swallow what goes wrong."""
        try:
            return read(self.versions)
        except CompatError as error:
            raise AdapterRefused(f"opswap: {error}; install opswap again") from None

    @property
    def remedy(self) -> str:
        """The command that installs a tested version."""
        return f"pip install {self.package}=={self.compat.best}"

    def judge(self, version: str) -> Verdict:
        """What is known of this version of the engine, and what to do."""
        row, called = self.compat.row(version), f"{self.engine} {version}"
        if row is None:
            refusal = f"{called} is outside the tested range ({', '.join(self.compat.versions('tested')) or 'none'})"
        elif row.status == "broken":
            refusal = f"{called} does not work with opswap: {'; '.join(row.broken)} [{row.told()}]"
        elif row.status == "expected":
            told = f"{called} is expected to work and was not run [{row.told()}]"
            return Verdict("warn", told, self.remedy if self.compat.versions("tested") else LOOK)
        else:
            return Verdict("ok", version)
        if accepted(self.package, version):
            return Verdict("warn", f"{refusal}; {ACCEPT_ENV} has it start all the same", self.remedy)
        return Verdict("fail", refusal, row.remedy if row else self.remedy)

    def check_version(self, version: str) -> str | None:
        """Why this version of the engine is refused, or None."""
        verdict = self.judge(version)
        return verdict.message if verdict.state == "fail" else None

    def missing_needs(self, seams: list[str]) -> list[str]:
        """What the given seams lack in this engine, one sentence each."""
        return [f"{seam}: {why}" for seam in seams for need in self.needs.get(seam, ()) if (why := need.missing())]

    def require(self, version: str, seams: list[str]) -> None:
        """Raises AdapterRefused when this engine is not one that the adapter may be used with."""
        verdict = self.judge(version)
        if verdict.state == "fail":
            raise AdapterRefused(
                f"opswap: {verdict.message}; {self.remedy.removeprefix('pip ')}, or {self.leave_out}; "
                f"{ACCEPT_ENV}={self.package}=={version} tries it, and what the seams use is still looked at"
            )
        if verdict.state == "warn":
            logging.getLogger("opswap").warning("opswap: %s", verdict.message)
        lost = self.missing_needs(seams)
        if lost:
            names = ",".join(sorted({sentence.partition(":")[0] for sentence in lost}))
            raise AdapterRefused(
                f"opswap: {self.engine} {version} lacks what the adapter uses: {'; '.join(lost)}; "
                f"is this a patched build? {self.skip_env}={names} leaves these seams to {self.engine}"
            )
