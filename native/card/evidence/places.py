"""Where declarations and references lie: inside this package in a wheel, in folders of their own in a checkout."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent
_IN_WHEEL = (_HERE / "kernels").exists()
KERNELS = _HERE / "kernels" if _IN_WHEEL else _HERE.parents[2] / "kernels"
DTYPES = _HERE / "dtypes.def" if _IN_WHEEL else _HERE.parents[1] / "core/dtypes.def"
