"""What tests of the packages share: the finished wheels, and new environments made from them without a compiler on PATH."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PACKAGES = Path(os.environ.get("OPSWAP_PACKAGES", "build/packages")).resolve()


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder that `npm run package` made."""
    return PACKAGES
