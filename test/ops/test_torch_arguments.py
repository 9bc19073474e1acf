"""torch's tensors as arguments: what lies in their memory must be what they stand for, and outputs may be written."""

from __future__ import annotations

from typing import Any

import numpy as np
import opswap
import pytest
import torch
from opswap import torch_ops
from torch._subclasses.fake_tensor import FakeTensorMode

torch_ops.register()


def negated() -> torch.Tensor:
    """-5 as torch hands it out: the memory holds 5, and a bit says that it is negated."""
    view = torch.complex(torch.zeros(1, 1, 2, 1), torch.full((1, 1, 2, 1), 5.0)).conj().imag
    assert view.is_neg()
    return view


def refused(code: str, words: str, op: str, *args: Any) -> None:
    with pytest.raises(opswap.OpswapError) as caught:
        opswap.call(op, *args)
    assert caught.value.code == code and words in caught.value.message, caught.value


def test_a_lazily_negated_input_is_refused_and_its_resolved_one_is_not() -> None:
    out = torch.zeros(1, 1, 2, 1)
    refused("OPSWAP_E_ARGUMENT", "copy: input is a lazily negated torch tensor", "copy", out, negated())
    assert not out.any()
    opswap.call("copy", out, negated().resolve_neg())
    assert out.flatten().tolist() == [-5, -5]


def test_a_lazily_negated_output_is_refused() -> None:
    out = negated()
    refused("OPSWAP_E_ARGUMENT", "copy: out is a lazily negated torch tensor", "copy", out, torch.ones(1, 1, 2, 1))
    assert out.flatten().tolist() == [-5, -5]


def test_torchs_dispatcher_resolves_inputs_of_the_operator_and_refuses_outputs() -> None:
    out = torch.zeros(1, 1, 2, 1)
    torch.ops.opswap.copy(out, negated())
    assert out.flatten().tolist() == [-5, -5]
    lazy = negated()
    with pytest.raises(RuntimeError):  # in torch's own words: it looks for the output among what the op returns
        torch.ops.opswap.copy(lazy, torch.ones(1, 1, 2, 1))
    assert lazy.flatten().tolist() == [-5, -5]


def test_a_lazily_conjugated_tensor_is_refused() -> None:
    value = torch.ones(1, 1, 2, 1, dtype=torch.complex64).conj()
    refused("OPSWAP_E_ARGUMENT", "lazily conjugated", "copy", torch.zeros(1, 1, 2, 1), value)
    refused("OPSWAP_E_DTYPE", "complex64", "copy", torch.zeros(1, 1, 2, 1), value.resolve_conj())


def test_an_output_that_requires_grad_is_refused_where_torch_refuses_it() -> None:
    x, out = torch.ones(2, 8), torch.zeros(2, 8, requires_grad=True)
    refused("OPSWAP_E_READ_ONLY", "silu: out is written", "silu", out, x)
    assert not out.any()
    with torch.no_grad():
        opswap.call("silu", out, x)
    assert out.all()
    opswap.call("silu", torch.empty(2, 8), x.clone().requires_grad_())  # an input may: weights do


def test_an_output_whose_elements_share_memory_is_refused() -> None:
    refused("OPSWAP_E_OVERLAP", "silu: out", "silu", torch.zeros(1, 8).expand(2, 8), torch.ones(2, 8))


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(8).to_sparse(),
        torch.eye(8).to_sparse_csr(),
        torch.nested.nested_tensor([torch.ones(2, 8), torch.ones(1, 8)]),
        torch.nested.nested_tensor([torch.ones(2, 8), torch.ones(1, 8)], layout=torch.jagged),
    ],
    ids=["sparse", "csr", "nested", "jagged"],
)
def test_other_layouts_are_refused(value: torch.Tensor) -> None:
    refused("OPSWAP_E_ARGUMENT", "silu: input is a ", "silu", torch.zeros(8, 8), value)
    refused("OPSWAP_E_ARGUMENT", "silu: out is a ", "silu", value, torch.ones(8, 8))


def test_tensors_without_memory_are_refused() -> None:
    x = torch.ones(2, 8)
    refused("OPSWAP_E_DEVICE", "silu: out is on meta", "silu", torch.empty(2, 8, device="meta"), x)
    with FakeTensorMode():
        fake = torch.empty(2, 8)
    refused("OPSWAP_E_ARGUMENT", "silu: out is a FakeTensor", "silu", fake, x)
    refused("OPSWAP_E_NULL", "silu: input", "silu", torch.empty(2, 8), torch._efficientzerotensor((2, 8)))


def test_inside_vmap_there_is_no_address() -> None:
    def call(x: torch.Tensor) -> torch.Tensor:
        opswap.call("silu", torch.empty(2, 8), x)
        return x

    with pytest.raises(opswap.OpswapError, match="silu: input is a torch tensor that gives no address"):
        torch.vmap(call)(torch.ones(3, 2, 8))


@pytest.mark.filterwarnings("ignore:.*quantize.*")
def test_quantised_tensors_are_refused() -> None:
    value = torch.quantize_per_tensor(torch.ones(2, 8), 0.1, 0, torch.qint8)
    refused("OPSWAP_E_DTYPE", "qint8", "silu", torch.empty(2, 8), value)


def test_parameters_and_scalar_tensors_are_taken() -> None:
    x, out = torch.ones(2, 8), torch.empty(2, 8)
    weight = torch.nn.Parameter(torch.full((8,), 2.0))
    for epsilon in (torch.tensor(3.0), torch.tensor(3), torch.tensor(3.0, dtype=torch.bfloat16), np.float32(3)):
        opswap.call("rms_norm", out.fill_(torch.nan), x, weight, epsilon)
        assert out.tolist() == [[1.0] * 8] * 2  # 1 / sqrt(1 + 3) * 2
    refused("OPSWAP_E_ARGUMENT", "epsilon is a tensor, needs a float", "rms_norm", out, x, weight, torch.ones(2))


def test_an_implementation_in_python_gets_no_output_that_is_read_only() -> None:
    ran = []
    torch_ops.register_impl("gelu", "noted", lambda *args: ran.append(len(args)))
    out = np.frombuffer(bytes(64), np.float32).reshape(2, 8)
    with pytest.raises(opswap.OpswapError, match="OPSWAP_E_READ_ONLY: gelu: out is written"):
        opswap.call("gelu", out, np.ones((2, 8), np.float32), impl="noted")
    assert not ran
