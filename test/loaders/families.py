"""Tiny models of the families whose checkpoints people convert, with random weights, as transformers saves them."""

import json
from pathlib import Path

# Every width is a multiple of 128 and experts' of 256: no rule of blocks is broken, which plan.test.ts looks after.
COMMON = {
    "vocab_size": 512,
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GQA = {"num_key_value_heads": 2, "head_dim": 64}
DENSE = {**GQA, "intermediate_size": 512}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 256}
MLA = {
    "intermediate_size": 512,
    "num_key_value_heads": 4,
    "q_lora_rank": 128,
    "kv_lora_rank": 128,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 64,
    "v_head_dim": 64,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 256,
    "n_group": 2,
    "topk_group": 1,
}
# Name -> the configuration class's model type, and what it adds.
FAMILIES: dict[str, tuple[str, dict]] = {
    "llama": ("llama", DENSE),
    "llama-tied": ("llama", {**DENSE, "tie_word_embeddings": True}),
    "mistral": ("mistral", DENSE),
    "qwen2": ("qwen2", {"num_key_value_heads": 2, "intermediate_size": 512}),
    "qwen3": ("qwen3", DENSE),
    "gemma3": ("gemma3_text", {**DENSE, "tie_word_embeddings": True}),
    "qwen2-moe": (
        "qwen2_moe",
        {"num_key_value_heads": 2, "intermediate_size": 512, "shared_expert_intermediate_size": 256, **EXPERTS},
    ),
    "qwen3-moe": ("qwen3_moe", {**DENSE, **EXPERTS}),
    "qwen3.5-moe": (
        "qwen3_5_moe_text",
        {
            **GQA,
            **EXPERTS,
            "shared_expert_intermediate_size": 256,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 64,
            "linear_value_head_dim": 64,
            "layer_types": ["linear_attention", "full_attention"],
        },
    ),
    "mixtral": ("mixtral", {**GQA, "intermediate_size": 256, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "glm4-moe": (
        "glm4_moe",
        {
            **DENSE,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 256,
            "n_shared_experts": 1,
            "first_k_dense_replace": 0,
        },
    ),
    "deepseek-v2": ("deepseek_v2", {**MLA, "topk_method": "group_limited_greedy"}),
    "deepseek-v3": ("deepseek_v3", MLA),
    "gpt-oss": ("gpt_oss", {**GQA, "intermediate_size": 256, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "llama4": (
        "llama4_text",
        {
            **GQA,
            "intermediate_size": 256,
            "intermediate_size_mlp": 512,
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
            "interleave_moe_layer_step": 1,
        },
    ),
}
# Entries of real checkpoints that transformers' classes do not write, and engines ask for.
MORE: dict[str, dict] = {
    "deepseek-v2": {"moe_layer_freq": 1, "scoring_func": "softmax", "topk_method": "group_limited_greedy"},
    "deepseek-v3": {"moe_layer_freq": 1, "scoring_func": "sigmoid", "topk_method": "noaux_tc"},
    "qwen3.5-moe": {"full_attention_interval": 2},
}


def beside(folder: Path, what: str) -> Path:
    """Not with_suffix, for which qwen3.5 is a kind of qwen3."""
    return folder.with_name(f"{folder.name}.{what}")


def make(name: str, folder: Path) -> None:
    """Saves a model of a family, and the statistics that layouts with static inputs ask for."""
    import torch
    import transformers
    from safetensors.torch import load_file, save_file

    torch.manual_seed(sorted(FAMILIES).index(name))
    kind, more = FAMILIES[name]
    config = transformers.AutoConfig.for_model(kind, **{**COMMON, **more})
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif "embed" not in key:
                parameter.normal_(0, 0.06)
    model.save_pretrained(folder)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **MORE.get(name, {})}, indent=2))
    tensors = load_file(folder / "model.safetensors")
    inputs = {f"{key}.absmax": torch.linspace(1, 5, one.shape[1]) for key, one in tensors.items() if one.dim() == 2}
    save_file(inputs, beside(folder, "statistics"))
