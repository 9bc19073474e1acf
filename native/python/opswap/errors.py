"""The one exception of the library, and the refusals that several modules make."""


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


def read_only(what: str, came: str) -> OpswapError:
    """The refusal of an output that must not be written."""
    return OpswapError("OPSWAP_E_READ_ONLY", f"{what} is written, needs memory that may be, is {came}")
