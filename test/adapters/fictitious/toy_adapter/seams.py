"""Which seam of the toy engine carries which op."""

from __future__ import annotations

from opswap.adapters.common.seams import Seam, SeamTable

SEAMS: tuple[Seam, ...] = (
    Seam("activation", ("silu_and_mul",), "ACTIVATIONS", "an entry of the table", "none", "activation:install"),
)
NOT_OFFERED: dict[str, str] = {"linear": "the toy engine has no linear layers"}
TABLE = SeamTable("Toy", f"{__package__}.layers", "OPSWAP_TOY_SKIP", SEAMS, NOT_OFFERED)
