"""Which TensorRT-LLM the adapter works with: those that a contract's table is for, with every row of it as it was read.

The installed package is compared as text, before anything of it is used; common/drift.py does that.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from opswap.adapters.common.contract import Contract, for_version, read_all
from opswap.adapters.common.drift import drifts
from opswap.adapters.common.probe import AdapterRefused, Probe
from opswap.adapters.common.source_tree import SourceTree
from opswap.adapters.trtllm.seams import TABLE

PACKAGE = "tensorrt_llm"
CONTRACTS = Path(__file__).with_name("contracts")
#: By this the user lets the engine's own kernels serve where opswap cannot, instead of a refusal.
STOCK = "OPSWAP_TRTLLM_STOCK"


@cache
def contracts() -> list[Contract]:
    return read_all(CONTRACTS)


def contract_for(version: str) -> Contract | None:
    return for_version(contracts(), version)


def installed() -> SourceTree:
    """The package of this environment, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise AdapterRefused(f"opswap: {PACKAGE} is not installed here; run this in TensorRT-LLM's environment")
    return SourceTree(Path(places[0]), PACKAGE)


@dataclass(frozen=True)
class ContractProbe(Probe):
    """A probe whose needs are the rows of the table of the installed version."""

    def check_version(self, version: str) -> str | None:
        if contract_for(version):
            return None
        known = "; ".join(f"{contract.table} for {contract.versions}" for contract in contracts())
        return f"{self.engine} {version or '(no version)'} has no table of what the adapter relies on ({known})"

    def missing_needs(self, seams: list[str]) -> list[str]:
        tree = installed()
        contract = contract_for(tree.version)
        if contract is None:
            return []
        wanted = {*seams, *ALWAYS}
        return [f"{drift.row.seam}: {drift.row.where}: {drift.why}" for drift in drifts(contract, tree, wanted)]


#: Rows that every seam needs: how the package is imported, and what is registered besides.
ALWAYS = ("import", "models", "checkpoint")
PROBE = ContractProbe(
    engine="TensorRT-LLM",
    package=PACKAGE,
    tested=("1.2.0", "1.2.1"),
    needs={},
    skip_env=TABLE.skip_env,
    leave_out=f"leave out --custom_module_dirs, or set {STOCK}=1, to serve without it",
)
