"""Random models of two layers, small enough for seconds and divisible by two tensor-parallel ranks."""

from __future__ import annotations

from pathlib import Path

VOCAB = 256


def make_tiny(kind: str, folder: Path, **changes: object) -> Path:
    """Writes a model of a family (Llama, ...) in fp32. Weights are so wide that greedy tokens have no near ties."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCAB,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **changes,
    )
    model = getattr(transformers, f"{kind}ForCausalLM")(config).to(torch.float32)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def make_llama(folder: Path) -> Path:
    return make_tiny("Llama", folder)


def greedy_tokens(model: object, prompts: list[list[int]], count: int) -> list[list[int]]:
    """What Hugging Face generates greedily, in fp32, ignoring the end token."""
    import torch

    tokens = []
    for prompt in prompts:
        with torch.inference_mode():
            out = model.generate(
                torch.tensor([prompt]),
                max_new_tokens=count,
                min_new_tokens=count,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=None,
            )
        tokens.append(out[0, len(prompt) :].tolist())
    return tokens
