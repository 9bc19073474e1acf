"""What the tests of all adapters share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def private_runtime() -> Iterator[None]:
    """No test reads or leaves anything in the user's runtime folder. A short path, since it holds sockets."""
    with tempfile.TemporaryDirectory(prefix="ow") as folder:
        os.environ["OPSWAP_RUNTIME_DIR"] = folder
        yield
