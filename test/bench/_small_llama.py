"""A small Llama trained on the bytes of a text for some seconds, with widths that every layout takes."""

from __future__ import annotations

import time
from pathlib import Path

WINDOW = 256


def train(text: str, folder: Path, seconds: float) -> Path:
    """Saves model and tokenizer; the text is what may be learned from."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=256, num_hidden_layers=4, head_dim=64, max_position_embeddings=1024, **sizes)
    model = LlamaForCausalLM(config).train()
    data = torch.tensor(list(text.encode("utf-8")))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        starts = torch.randint(0, len(data) - WINDOW, (8,))
        rows = torch.stack([data[start : start + WINDOW] for start in starts])
        model(rows, labels=rows).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.to(torch.bfloat16).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def byte_tokenizer():
    """A token for each byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    bytes_ = Tokenizer(models.BPE({char: byte for byte, char in bytes_to_unicode().items()}, []))
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bytes_)
