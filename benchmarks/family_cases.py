"""Tiny random configs of transformers' decoder families and vision towers, for `families.py` and the tests.

A config is the family's own class with small sizes under whatever names it has for them. What its defaults do not
show (other frequencies, windows, experts or none) are variants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from seetell.model.connector import build_connector
from seetell.model.tower import width
from seetell.model.vlm import VLM

LARGEST = 10_000_000  # parameters: what is not tiny was not shrunk
VOCABULARY, IMAGE_ID, SIDE_PX, PATCH_PX = 128, 120, 32, 16


@dataclass(frozen=True)
class Case:
    """A family by its `model_type`, what its config has beside the sizes, and a word for that."""

    kind: str
    given: dict[str, Any]
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} ({self.note})" if self.note else self.kind


# Every name that a config may have for one of its sizes.
NAMES: dict[Any, str] = {
    VOCABULARY: "vocab_size vocab_size_per_layer_input",
    512: "max_position_embeddings n_positions max_seq_len",
    48: "intermediate_size n_inner decoder_ffn_dim encoder_ffn_dim ffn_dim",
    32: "hidden_size n_embd d_model",
    16: "moe_intermediate_size shared_expert_intermediate_size expert_ffn_hidden_size shared_intermediate_size "
    "q_lora_rank kv_lora_rank",
    8: "head_dim kv_channels qk_nope_head_dim v_head_dim hidden_size_per_layer_input",
    4: "num_attention_heads n_head n_heads decoder_attention_heads encoder_attention_heads rotary_dim qk_rope_head_dim "
    "num_experts num_local_experts n_routed_experts moe_num_experts",
    2: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_key_value_heads "
    "num_experts_per_tok eos_token_id",
    1: "bos_token_id n_shared_experts num_shared_experts n_group topk_group first_k_dense_replace",
    0: "pad_token_id",
}
SIZES = {"is_decoder": True} | {name: size for size, names in NAMES.items() for name in names.split()}
ROPE = {"rope_theta": 10000.0}
LONG = {"short_factor": [1.0, 1.1, 1.3, 1.6], "long_factor": [1.0, 2.0, 4.0, 8.0], **ROPE}
# What no default shows: other frequencies, scaled queries, windows, both directions, or no more what is refused.
VARIANTS = (
    Case("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, **ROPE}}, "dynamic"),
    Case("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, **ROPE}}, "linear"),
    Case(
        "llama",
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, **ROPE}},
        "yarn",
    ),
    Case("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}, "biases, tied"),
    Case(
        "phi3",
        {"rope_parameters": {"rope_type": "longrope", **LONG}, "original_max_position_embeddings": 128},
        "longrope",
    ),
    Case(
        "phi3",
        {"rope_parameters": {"rope_type": "longrope", **LONG}, "original_max_position_embeddings": 32},
        "longrope, a document beyond its original context",
    ),
    Case(
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", **ROPE, "factor": 2.0}, "max_position_embeddings": 32},
        "dynamic, a document beyond its context",
    ),
    Case(
        "ministral3",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 16.0,
                "original_max_position_embeddings": 32,
                "llama_4_scaling_beta": 0.5,
                **ROPE,
            }
        },
        "queries scaled by position",
    ),
    Case("mistral", {"sliding_window": 40}, "a window shorter than a document"),
    Case("qwen2", {"use_sliding_window": True, "sliding_window": 256, "max_window_layers": 1}, "window in some layers"),
    Case("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}, "without soft caps"),
    Case("gemma3_text", {"use_bidirectional_attention": True}, "bidirectional"),
    Case("granite", {"logits_scaling": 1.0, "embedding_multiplier": 2.0}, "logits not scaled"),
    Case("granitemoe", {"logits_scaling": 1.0}, "logits not scaled"),
    Case("cohere", {"logit_scale": 1.0}, "logits not scaled"),
    Case("cohere2", {"logit_scale": 1.0}, "logits not scaled"),
    Case("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}, "as the 350m"),
    Case("gpt_neox", {"use_parallel_residual": False}, "not parallel"),
    Case("phi", {"qk_layernorm": True}, "norms on queries"),
    Case("stablelm", {"use_parallel_residual": True}, "parallel"),
    Case("deepseek_v3", {"q_lora_rank": None}, "queries in one matrix"),
    Case("qwen3_moe", {"mlp_only_layers": [0]}, "a dense layer"),
)
# What a config of these sizes needs besides, lest it contradict itself.
BESIDES: dict[str, dict[str, Any]] = {
    "falcon": {"head_dim": ..., "num_kv_heads": 2, "new_decoder_architecture": True},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 256},
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 8},
    "granitemoehybrid": {"mamba_n_heads": 8, "mamba_d_head": 8},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "zaya": {"num_experts_per_tok": 1},
    "xlstm": {"v_head_dim": ...},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [16, 32], "num_attention_heads": 2},
    "zamba": {"layer_types": ["linear_attention", "hybrid"]},
    "zamba2": {"layer_types": ["linear_attention", "hybrid"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "prophetnet": {"num_hidden_layers": ..., "num_encoder_layers": 2, "num_decoder_layers": 2},
    "minimax": {"layer_types": ["full_attention", "linear_attention"]},
    "roc_bert": {
        "pronunciation_vocab_size": 16,
        "shape_vocab_size": 16,
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
    },
    "ctrl": {"dff": 48},
    "xlnet": {"max_position_embeddings": ..., "d_head": 8, "d_inner": 48},
    "gemma3n_text": {"num_kv_shared_layers": 0, "layer_types": ["sliding_attention", "full_attention"]},
    "gemma4_text": {"head_dim": ..., "num_kv_shared_layers": 0},
    "dots3_note_text": {"num_attention_heads": ...},
}


TOWER_SIZES: dict[str, Any] = {
    **dict.fromkeys(("image_size", "pretrain_img_size"), SIDE_PX),
    "patch_size": PATCH_PX,
    "hidden_size": 24,
    "intermediate_size": 48,
    "mlp_dim": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
STAGES: dict[str, Any] = {"embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2], "num_attention_heads": ...}
SWIN = {"patch_size": 4, "window_size": 4, "num_hidden_layers": ..., "hidden_size": ..., **STAGES}
FOUR_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
PYRAMID = {"num_attention_heads": [1, 2, 5, 8], "num_hidden_layers": ..., "hidden_sizes": [8, 16, 40, 64]}
TOWER_BESIDES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("swin", "swinv2", "donut-swin", "maskformer-swin"), SWIN),
    "yolos": {"image_size": [32, 32]},
    **dict.fromkeys(("convnext", "convnextv2", "dinov3_convnext"), FOUR_STAGES),
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "regnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 8},
    "bit": {"num_groups": 8, "embedding_size": 8, "hidden_sizes": [32, 64], "depths": [1, 1]},
    "focalnet": {"embed_dim": 12, "depths": [1, 1], "hidden_sizes": [12, 24], "focal_levels": [2, 2]},
    "poolformer": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
    **dict.fromkeys(("pvt", "pvt_v2", "segformer"), PYRAMID),
    "levit": {"num_attention_heads": [4, 8, 12]},
    "sam_vision_model": {"window_size": 2, "global_attn_indexes": [1], "output_channels": 16},
}
TOWERS = """clip_vision_model siglip_vision_model siglip2_vision_model mlcd_vision_model aimv2_vision_model
chinese_clip_vision_model dinov2 dinov2_with_registers dinov3_vit dinov3_convnext vit deit beit data2vec-vision vit_mae
vit_msn ijepa yolos dpt vivit videomae imagegpt swin swinv2 donut-swin maskformer-swin convnext convnextv2 pvt pvt_v2
resnet levit mobilevit poolformer regnet bit focalnet segformer internvl_vision idefics3_vision smolvlm_vision pixtral
sam_vision_model vitdet pixio tipsv2_vision_model sam3_vit_model mobilenet_v2"""
TOWER_VARIANTS = (
    Case("dinov2", {"use_swiglu_ffn": True}, "SwiGLU"),
    Case("dinov3_vit", {"num_register_tokens": 0}, "no registers"),
    Case("dinov2_with_registers", {"num_register_tokens": 0}, "no registers"),
    Case("siglip_vision_model", {"vision_use_head": False}, "no head"),
    Case("clip_vision_model", {"hidden_act": "gelu"}, "gelu"),
)


def tower_cases() -> list[Case]:
    """Towers that AutoModel knows, hierarchical ones too, and variants."""
    return [Case(kind, {}) for kind in TOWERS.split()] + list(TOWER_VARIANTS)


def decoder_cases() -> list[Case]:
    """The families of AutoModelForCausalLM that are decoders and no model around one, and the variants."""
    kinds = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    configs: Any = CONFIG_MAPPING
    texts = [kind for kind in kinds if not configs[kind].sub_configs]
    return [Case(kind, {}) for kind in texts] + list(VARIANTS)


def tiny_config(case: Case) -> Any:
    """The family's own config with tiny sizes."""
    family: Any = CONFIG_MAPPING[case.kind]
    usual = family()
    known = {key: value for key, value in SIZES.items() if _has(usual, key)}
    if "qk_rope_head_dim" in known:  # latent attention: its heads are as wide as its parts say, each with its own key
        known |= {"head_dim": ..., "num_key_value_heads": 4}
    whole = {**known, **BESIDES.get(case.kind, {}), **case.given}
    return family(**{key: value for key, value in whole.items() if value is not ...})


def _has(config: Any, key: str) -> bool:
    try:
        return hasattr(config, key)
    except Exception:  # a family's own complaint about its default
        return False


def tiny_decoder(case: Case) -> PreTrainedModel:
    """Random weights, large enough that no mistake hides in a small number."""
    return _built(AutoModelForCausalLM, tiny_config(case))


def tiny_vision(case: Case) -> PreTrainedModel:
    """The same of a tower, for pictures of 32 px."""
    family: Any = CONFIG_MAPPING[case.kind]
    usual = family()
    known = {key: value for key, value in TOWER_SIZES.items() if _has(usual, key)}
    whole = {**known, **TOWER_BESIDES.get(case.kind, {}), **case.given}
    return _built(AutoModel, family(**{key: value for key, value in whole.items() if value is not ...}))


def _built(family: Any, config: Any) -> PreTrainedModel:
    with torch.device("meta"):
        size = sum(p.numel() for p in family.from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"{size:,} parameters: its sizes have other names")
    torch.manual_seed(0)
    return spread(family.from_config(config, dtype=torch.float32))


@torch.no_grad()
def spread(module: PreTrainedModel) -> PreTrainedModel:
    """Weights larger than a fresh model's, biases, norms and gates off 0 and 1."""
    for name, weight in module.named_parameters():
        noise = torch.randn_like(weight)
        if weight.dim() > 1:
            weight.mul_(3.0).add_(noise, alpha=0.0 if weight.any() else 0.1)
        else:
            weight.add_(noise, alpha=0.2 if "norm" in name or name.endswith("weight") else 0.1)
    return module.eval()


def tiny_tower() -> PreTrainedModel:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2}
    return spread(
        CLIPVisionModel(CLIPVisionConfig(**sizes, num_attention_heads=2, image_size=SIDE_PX, patch_size=PATCH_PX))
    )


def join(vision: PreTrainedModel, language: PreTrainedModel, **given: Any) -> VLM:
    widths = width(vision.config), language.config.hidden_size
    constants: dict[str, Any] = {"pixel_mean": (0.5, 0.5, 0.5), "pixel_std": (0.25, 0.25, 0.25)}
    return VLM(vision, build_connector("mlp2", *widths, 2), language, image_id=IMAGE_ID, **constants, **given).eval()
