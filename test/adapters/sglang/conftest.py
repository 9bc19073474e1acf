"""Real SGLang on a CPU: its ServerArgs, ModelRunner, KV pool and sampler in this process, without a scheduler.

One process has one configuration at a time, so an engine serves until the next one is started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "common"))
sys.path.insert(0, str(Path(__file__).parent / "rig"))
sys.path.insert(0, str(Path(__file__).parent / "loud"))
sys.path.insert(0, str(Path(__file__).parent))
os.environ["SGLANG_PLUGINS"] = "opswap_cpu_rig,opswap"

import pytest
from inprocess import Engine, load
from suite import Served, demo_model
from tiny import make_llama


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return demo_model()


@pytest.fixture(scope="module")
def start() -> Callable[..., Engine]:
    return load


@pytest.fixture(scope="module")
def engine(tiny_llama: Path) -> Engine:
    """The tiny Llama with SGLang's defaults; of each module of tests that asks, because the last one started serves."""
    return load(tiny_llama)


@pytest.fixture(scope="module")
def served(engine: Engine) -> Served:
    return engine.generate
