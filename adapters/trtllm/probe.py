"""Which TensorRT-LLM the adapter works with: those that a contract's table is for, with every row of it as it was read.

The installed package is compared as text, before anything of it is used; common/drift.py does that.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from opswap.adapters.common.compat import FILE, version_key
from opswap.adapters.common.contract import Contract, for_version, read_all
from opswap.adapters.common.drift import drifts
from opswap.adapters.common.package_text import PackageText
from opswap.adapters.common.probe import AdapterRefused, Probe, Verdict
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


def installed() -> PackageText:
    """The package of this environment, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise AdapterRefused(f"opswap: {PACKAGE} is not installed here; run this in TensorRT-LLM's environment")
    return PackageText(Path(places[0]), PACKAGE)


def nearest(version: str) -> Contract:
    """The table of a version, or the newest older one: for a version that the user has start all the same."""
    older = [contract for contract in contracts() if version_key(contract.first) <= version_key(version)]
    return contract_for(version) or (older or contracts())[-1]


@dataclass(frozen=True)
class ContractProbe(Probe):
    """A probe whose needs are the rows of the table of the installed version."""

    @property
    def remedy(self) -> str:
        return f"pip install {self.package}=={NEWEST}"

    def judge(self, version: str) -> Verdict:
        verdict = super().judge(version)
        if verdict.state != "fail" or contract_for(version):
            return verdict
        known = "; ".join(f"{contract.table} for {contract.versions}" for contract in contracts())
        return Verdict("fail", f"{verdict.message}; what the adapter relies on is known of {known}", self.remedy)

    def missing_needs(self, seams: list[str]) -> list[str]:
        tree = installed()
        found = drifts(nearest(tree.version), tree, {*seams, *ALWAYS})
        return [f"{drift.row.seam}: {drift.row.where}: {drift.why}" for drift in found]


#: Rows that every seam needs: how the package is imported, and what is registered besides.
ALWAYS = ("import", "models", "checkpoint")
#: The newest release that a table is for.
NEWEST = "1.2.1"
PROBE = ContractProbe(
    engine="TensorRT-LLM",
    package=PACKAGE,
    versions=Path(__file__).with_name(FILE),
    needs={},
    skip_env=TABLE.skip_env,
    leave_out=f"leave out --custom_module_dirs, or set {STOCK}=1, to serve without it",
)
