"""Real vLLM on a CPU. Engines live in this process where they can, and are shared: vllm_driver.py starts them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from adapters_here import driver as driver_of

driver = driver_of("vllm")  # sets the environment before vLLM reads it
ENGINE, PROMPTS = driver.ENGINE, driver.PROMPTS


@pytest.fixture(scope="session")
def tiny_llama() -> Path:
    return driver.tiny_llama()


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The demo's model, in fp32; kept beside the environments, so that it is made once per machine."""
    from opswap.adapters.common.demo_model import ensure_model

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return ensure_model(
        Path(os.environ.get("OPSWAP_CACHE", cache / "opswap")) / "models" / "smollm2-135m-float32", "float32"
    )


@pytest.fixture(scope="session")
def start_llm() -> Callable[..., object]:
    return driver.start_llm


@pytest.fixture(scope="session")
def eager() -> object:
    return driver.eager()


@pytest.fixture(scope="session")
def compiled(tiny_llama: Path) -> object:
    llm = driver.start_llm(tiny_llama)
    llm.collective_rpc("opswap_test_add_loud")  # type: ignore[attr-defined]
    return llm


@pytest.fixture
def generate() -> Callable[..., list[list[int]]]:
    """Greedy tokens per prompt, with an empty prefix cache, so that every call computes everything anew."""

    def run(llm: object, prompts: list[list[int]] = PROMPTS, count: int = 12) -> list[list[int]]:
        assert llm.reset_prefix_cache()  # type: ignore[attr-defined]
        return driver.tokens(llm, prompts, count)

    return run
