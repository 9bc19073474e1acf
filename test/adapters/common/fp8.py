"""Converted checkpoints for the engine's tests, and what a model says of tokens it is given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from convert.checkpoint import fp8_block128, opswap
from convert.dequantise import dequantised, tensors_of
from tiny import VOCAB

TINY = {
    "vocab_size": VOCAB,
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 512,
    "initializer_range": 0.06,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128, "decoder_sparse_step": 1}
MLA = {
    "kv_lora_rank": 512,
    "q_lora_rank": None,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 64,
    "v_head_dim": 64,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "head_dim": 64,
    "num_key_value_heads": 4,
}


def make(kind: str, folder: Path, **changes: object) -> Path:
    """A random model of a Hugging Face architecture (LlamaForCausalLM, ...) in BF16 safetensors."""
    import torch
    import transformers

    torch.manual_seed(3)
    config = getattr(transformers, kind.replace("ForCausalLM", "Config"))(**{**TINY, **changes})
    model = getattr(transformers, kind)(config).to(torch.bfloat16)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def convert(source: Path, target: Path, *options: str) -> Path:
    ran = opswap(source, target, "--quiet", *options)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return target


def reference(folder: Path):
    """Hugging Face's model in float32 with the dequantised weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    missing, unexpected = model.load_state_dict(dequantised(folder), strict=False)
    assert (set(missing) <= {"lm_head.weight"}) and unexpected == []
    model.tie_weights()
    return model.eval()


def hf_log_probabilities(model, prompts: list[list[int]]) -> np.ndarray:
    """Of each token of each prompt but the first, given those before it."""
    import torch

    values = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            scores = model(ids).logits[0, :-1].float().log_softmax(-1)
        values.append(scores.gather(1, ids[0, 1:, None])[:, 0].numpy())
    return np.concatenate(values)


def vllm_log_probabilities(llm, prompts: list[list[int]]) -> np.ndarray:
    from vllm import SamplingParams

    assert llm.reset_prefix_cache()
    forced = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], forced, use_tqdm=False)
    return np.array(
        [
            told[token].logprob
            for prompt, output in zip(prompts, outputs, strict=True)
            for token, told in zip(prompt[1:], output.prompt_logprobs[1:], strict=True)
        ]
    )


def force_into_fp8(folder: Path, layers: tuple[str, ...]) -> None:
    """Quantises layers of a converted checkpoint that the converter kept, against its advice."""
    import torch
    from safetensors.torch import save_file

    tensors = tensors_of(folder)
    for name in [n for n in tensors if n.endswith(tuple(f"{layer}.weight" for layer in layers))]:
        codes, scales = fp8_block128(tensors[name].float().numpy())
        tensors[name] = torch.from_numpy(codes.view(np.uint8).copy()).view(torch.float8_e4m3fn)
        tensors[f"{name}_scale_inv"] = torch.from_numpy(scales)
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    kept = config["quantization_config"]["modules_to_not_convert"]
    config["quantization_config"]["modules_to_not_convert"] = [k for k in kept if not k.endswith(layers)]
    (folder / "config.json").write_text(json.dumps(config))
