"""TensorRT-LLM's operators taken over by dispatch key, on a CPU: right under each implementation, switched live, and
given back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import running  # noqa: I001
import host

NAMES = {"1.2": 3, "main": 4}
#: Beyond rounding of the result: float32 sums of 256 squares, and two roundings where the sum is rounded first.
MOST = {"torch.float32": 2e-6, "torch.bfloat16": 8e-3, "torch.float16": 1e-3}


@pytest.fixture(scope="module", params=NAMES)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    place = host.build(request.param, tmp_path_factory.mktemp("host"))
    # Attention and linear layers have no operators of these.
    return request.param, running.run(place, "overriding.py", env={"OPSWAP_TRTLLM_SKIP": "attention,linear"})[0]


def test_every_operator_of_the_table_is_taken_over(seen: tuple[str, dict[str, Any]]) -> None:
    table, found = seen
    assert len(found["operators"]) == NAMES[table]
    assert found["active"] == sorted(found["operators"])


def test_each_implementation_gives_what_ref_py_says(seen: tuple[str, dict[str, Any]]) -> None:
    _, found = seen
    assert len(found["errors"]) >= 3 * 3 * len(found["operators"])
    wrong = {key: error for key, error in found["errors"].items() if error > MOST[key.rpartition("/")[2]]}
    assert wrong == {}


def test_a_switch_has_the_other_implementation_run_and_the_stock_kernel_is_one_of_them(
    seen: tuple[str, dict[str, Any]],
) -> None:
    _, found = seen
    for op in found["operators"]:
        assert {"cpu", "ref", "framework"} <= set(found["impls"][op])
        for impl in found["impls"][op]:
            assert found["calls"][f"{op}/{impl}"] == [{impl: 3}] * 2


def test_torch_finds_nothing_wrong_with_them(seen: tuple[str, dict[str, Any]]) -> None:
    _, found = seen
    results = {result for checks in found["opcheck"].values() for result in checks.values()}
    assert results == {"SUCCESS"} and len(found["opcheck"]) == len(found["operators"])


def test_given_back_they_are_the_stock_ones_bit_for_bit(seen: tuple[str, dict[str, Any]]) -> None:
    _, found = seen
    assert found["restored"] == dict.fromkeys(found["operators"], True)
    assert found["untouched"]
