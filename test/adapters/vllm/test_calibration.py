"""The collector measures what the layers really see: the same as hooks on Hugging Face's model in float32."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from opswap.adapters.common import calibration
from opswap.adapters.vllm.calibration import start
from safetensors import safe_open

PROMPTS = [[1, 5, 9, 33, 77, 200], list(range(3, 60))]


def measured(model, prompts) -> dict:
    """absmax and mean square of each linear layer's input, by weight."""
    import torch

    seen = {}

    def measure(name):
        return lambda _layer, args: seen.setdefault(name, []).append(args[0].reshape(-1, args[0].shape[-1]))

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    hooks = [layer.register_forward_pre_hook(measure(name)) for name, layer in layers.items()]
    with torch.inference_mode():
        for prompt in prompts:
            model(torch.tensor([prompt]))
    for hook in hooks:
        hook.remove()
    rows = {name: torch.cat(parts).double() for name, parts in seen.items() if name != "lm_head"}
    return {name: (x.abs().amax(0).float(), x.square().mean(0).float()) for name, x in rows.items()}


def generate(llm, prompts) -> None:
    from vllm import SamplingParams

    assert llm.reset_prefix_cache()
    llm.generate(
        [{"prompt_token_ids": p} for p in prompts], SamplingParams(max_tokens=1, detokenize=False), use_tqdm=False
    )


def test_statistics_are_those_of_the_float32_model(eager, tiny_llama, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    out = tmp_path / "calibration.safetensors"
    eager.collective_rpc("opswap_calibration_start")
    generate(eager, PROMPTS)
    answer = eager.collective_rpc("opswap_calibration_stop", args=(str(out),))[0]
    expected = measured(AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32), PROMPTS)
    assert answer["tokens"] == sum(map(len, PROMPTS))
    with safe_open(out, "pt") as file:
        about = file.metadata()
        kinds = ("weight.absmax", "weight.mean_square", "input_scale")
        assert set(file.keys()) == {f"{name}.{kind}" for name in expected for kind in kinds}
        for name, (most, square) in expected.items():
            torch.testing.assert_close(file.get_tensor(f"{name}.weight.absmax"), most, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(file.get_tensor(f"{name}.weight.mean_square"), square, rtol=1e-4, atol=1e-6)
            scale = file.get_tensor(f"{name}.input_scale")
            torch.testing.assert_close(scale, most.max().reshape(1) / 448, rtol=1e-4, atol=0)
    assert about["tokens"] == str(answer["tokens"])
    assert about["model"] == calibration.model_digest(tiny_llama)
    generate(eager, PROMPTS[:1])  # the hooks are off again
    with pytest.raises(calibration.CalibrationRefused, match="is not collecting"):
        eager.collective_rpc("opswap_calibration_stop", args=(str(out),))


def test_a_run_without_requests_is_refused(eager, tmp_path):
    eager.collective_rpc("opswap_calibration_start")
    with pytest.raises(calibration.CalibrationRefused, match="already collecting"):
        eager.collective_rpc("opswap_calibration_start")
    with pytest.raises(calibration.CalibrationRefused, match="no input reached"):
        eager.collective_rpc("opswap_calibration_stop", args=(str(tmp_path / "none"),))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "ranks", "told"), [("DYNAMO_TRACE_ONCE", 1, "--enforce-eager"), ("NONE", 2, "--tensor-parallel-size 1")]
)
def test_engines_whose_layers_cannot_be_seen_are_refused(mode, ranks, told):
    compilation = SimpleNamespace(mode=SimpleNamespace(name=mode))
    config = SimpleNamespace(compilation_config=compilation, parallel_config=SimpleNamespace(world_size=ranks))
    with pytest.raises(calibration.CalibrationRefused, match=told):
        start(SimpleNamespace(vllm_config=config))


def test_inputs_that_are_not_finite_are_refused():
    import torch

    seen = calibration.InputRange()
    seen(None, (torch.tensor([[1.0, float("nan")]]),))
    with pytest.raises(calibration.CalibrationRefused, match=r"the input of a was NaN"):
        seen.tensors("a")


def test_the_digest_tells_models_apart(tmp_path):
    import torch
    from safetensors.torch import save_file

    def digest(**tensors):
        save_file({name: x.clone() for name, x in tensors.items()}, tmp_path / "model.safetensors")
        return calibration.model_digest(tmp_path)

    x = torch.zeros(4, 600)
    first = digest(a=x, b=x)
    changed = x.clone()
    changed[0, 0] = 1
    assert len({first, digest(a=x, b=changed), digest(a=x, c=x), digest(a=x.T.contiguous(), b=x)}) == 4
    assert digest(a=x, b=x) == first
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    with pytest.raises(calibration.CalibrationRefused, match="is cut"):
        calibration.model_digest(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(calibration.CalibrationRefused, match="no safetensors"):
        calibration.model_digest(tmp_path)
