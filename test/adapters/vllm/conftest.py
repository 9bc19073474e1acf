"""Real vLLM on a CPU. Engines live in this process where they can, and are shared: vllm_driver.py starts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from adapters_here import driver as driver_of
from suite import demo_model

driver = driver_of("vllm")  # sets the environment before vLLM reads it
ENGINE, PROMPTS = driver.ENGINE, driver.PROMPTS


@pytest.fixture(scope="session")
def tiny_llama() -> Path:
    return driver.tiny_llama()


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return demo_model()


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


@pytest.fixture
def served(eager: object, generate: Callable[..., list[list[int]]]) -> Callable[..., list[list[int]]]:
    """What the common suite asks: greedy tokens of the tiny Llama."""
    return lambda prompts, count: generate(eager, prompts, count)
