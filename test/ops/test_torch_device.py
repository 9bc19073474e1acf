"""Device tensors with torch's own streams, memory and graphs: what only a card can show."""

from __future__ import annotations

import opswap
import pytest
import torch
from opswap import torch_ops

torch_ops.register()
STATUS = opswap.version()["device_status"]
pytestmark = pytest.mark.skipif(not STATUS.startswith("cuda: "), reason=f"needs a card for sm_90a; {STATUS}")


@pytest.fixture(autouse=True)
def _sm90_is_active():
    before = opswap.use("rms_norm", "sm90")
    yield
    opswap.use("rms_norm", before)


def arguments() -> list[torch.Tensor]:
    return [torch.empty(64, 4096, device="cuda"), torch.randn(64, 4096, device="cuda"), torch.ones(4096, device="cuda")]


def expected(x: torch.Tensor) -> torch.Tensor:
    x = x.double()
    return (x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-6)).float()


@pytest.mark.parametrize("through_torch", [True, False])
def test_a_call_runs_on_the_current_stream(through_torch: bool) -> None:
    """The input is made on a side stream after a long wait: a call on another stream would read it too early."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        out, x, w = arguments()
        torch.cuda._sleep(50_000_000)
        x.add_(1)
        torch.ops.opswap.rms_norm(out, x, w) if through_torch else opswap.call("rms_norm", out, x, w)
    stream.synchronize()
    torch.testing.assert_close(out, expected(x), rtol=1e-5, atol=1e-5)


def test_a_call_is_captured_in_a_graph() -> None:
    out, x, w = arguments()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        torch.ops.opswap.rms_norm(out, x, w)
    x.normal_()
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(out, expected(x), rtol=1e-5, atol=1e-5)


def test_a_device_that_is_not_there_is_refused() -> None:
    out, x, w = arguments()
    last = torch.cuda.device_count()
    gone = opswap.Tensor(x.data_ptr(), "float32", [64, 4096], [4096, 1], 2, last)
    with pytest.raises(opswap.OpswapError, match=f"input is on cuda:{last}, the first tensor is on cuda:0"):
        opswap.call("rms_norm", out, gone, w)
