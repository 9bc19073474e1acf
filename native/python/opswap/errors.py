"""The one exception of the library, and the refusals that several modules make."""

from __future__ import annotations

import importlib
import sys


class OpswapError(Exception):
    """A call that the library refused.

    Attributes:
        code: stable name of the error, e.g. ``OPSWAP_E_SHAPE`` (docs/errors.md).
        message: a sentence that names the call, what was expected and what came.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class NotLoadable(OpswapError, ImportError):
    """The pack cannot be loaded in this process: OPSWAP_E_NATIVE, for those who expect an ImportError too."""

    def __init__(self, message: str) -> None:
        super().__init__("OPSWAP_E_NATIVE", message)


def missing(error: ModuleNotFoundError, user: str) -> Exception:
    """What to raise where `user` imports a package that a wheel does not bring: OPSWAP_E_MISSING, with the command.

    The error itself where it is a module of opswap's own that is lost.
    """
    package = (error.name or "opswap").partition(".")[0]
    if package == "opswap":
        return error
    remedy = f"{sys.executable} -m pip install {package}"
    return OpswapError(
        "OPSWAP_E_MISSING", f"{user} needs the package {package}, which is not installed here; run: {remedy}"
    )


def require(user: str, *modules: str) -> None:
    """Imports modules that a wheel does not bring, or raises what `missing` says."""
    try:
        for module in modules:
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing(error, user) from None


def read_only(what: str, came: str) -> OpswapError:
    """The refusal of an output that must not be written."""
    return OpswapError("OPSWAP_E_READ_ONLY", f"{what} is written, needs memory that may be, is {came}")
