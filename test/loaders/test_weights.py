"""The comparison finds what a reader may do wrong, in as small a part as a reader may do it."""

import math

import pytest
import torch
from loaders import weights

ROWS, COLUMNS = 192, 256


def codes(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """FP8 with a scale for each 128 x 128 block, as the layout means it."""
    scales = torch.zeros(-(-weight.shape[0] // 128), -(-weight.shape[1] // 128))
    found = torch.zeros(weight.shape, dtype=torch.float8_e4m3fn)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            area = (slice(128 * i, 128 * i + 128), slice(128 * j, 128 * j + 128))
            scales[i, j] = weight[area].abs().max() / 448
            found[area] = (weight[area] / scales[i, j]).to(torch.float8_e4m3fn)
    return found, scales


def matrix(rows: int = ROWS) -> torch.Tensor:
    return torch.randn(rows, COLUMNS, generator=torch.Generator().manual_seed(rows))


def judged(got: torch.Tensor, want: torch.Tensor, stored: str) -> str:
    findings = weights.Findings()
    findings.decide("q_proj.weight", got, want, stored)
    return findings.verdict()


def model(weight: torch.Tensor) -> torch.nn.ModuleDict:
    layer = torch.nn.Linear(COLUMNS, len(weight), bias=False)
    layer.weight = torch.nn.Parameter(weight.clone())
    return torch.nn.ModuleDict({"o_proj": layer})


def test_codes_times_scales_are_right_and_codes_alone_are_not():
    want = matrix()
    packed, scales = codes(want)
    assert judged(weights.times(packed, scales, [ROWS]), want, "fp8") == "right"
    assert judged(packed.float(), want, "fp8").startswith("wrong: q_proj.weight (fp8) is at -")
    assert judged(weights.times(packed, scales, [ROWS]), want, "kept").startswith("wrong: q_proj.weight (kept)")


def test_a_quarter_of_a_block_with_a_scale_that_is_nearly_right_is_found():
    want = matrix()
    packed, scales = codes(want)
    got = weights.times(packed, scales, [ROWS])
    # As transformers does with 192 rows and 2 scales: blocks of 96.
    got[96:128, :128] *= 1.04
    assert 10 * math.log10(float(want.square().sum() / (got - want).square().sum())) > weights.LEAST_DB["fp8"]
    assert judged(got, want, "fp8").startswith("wrong")


@pytest.mark.parametrize("stored", ["kept", "fp8", "int4"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_one_weight_that_is_no_number_is_found(stored, value):
    got = matrix()
    got[3, 5] = value
    assert judged(got, matrix(), stored) == f"wrong: q_proj.weight ({stored}) is lost"


def test_rows_of_zeros_are_right_when_they_are_zeros():
    want = torch.zeros(ROWS, COLUMNS)
    want[0] = 1
    got = want.clone()
    got[0] = 1.001
    assert judged(got, want, "fp8") == "right"
    got[100] = 1
    assert judged(got, want, "fp8").startswith("wrong")


def test_a_matrix_that_the_source_lacks_is_found_and_a_tied_head_is_none():
    weight = matrix()
    source = {"o_proj.weight": weight}
    tied = model(weight)
    tied["lm_head"] = torch.nn.Linear(COLUMNS, ROWS, bias=False)
    tied["lm_head"].weight = tied["o_proj"].weight
    assert weights.compared("llama", source, tied) == "right"
    tied["lm_head"].weight = torch.nn.Parameter(weight.clone())
    assert weights.compared("llama", source, tied) == "wrong: lm_head.weight is no matrix of the source"


def test_poison_is_seen_where_a_loader_wrote_nothing():
    weight = matrix()
    poisoned = model(weight)
    weights.poison(poisoned.named_parameters())
    assert weights.compared("llama", {"o_proj.weight": weight}, poisoned) == "wrong: o_proj.weight (kept) is lost"


def test_a_model_stands_for_a_source_only_with_every_value_of_it():
    source = {"a": torch.arange(6.0), "b": torch.arange(6.0, 8.0)}
    weights.same_values(source, {"ab": torch.arange(8.0).reshape(2, 4).T})
    for wrong in ({"ab": torch.arange(9.0)}, {"ab": torch.tensor([0.0, 1, 2, 3, 4, 5, 6, 6])}):
        with pytest.raises(ValueError, match="the source has 8 values"):
            weights.same_values(source, wrong)
