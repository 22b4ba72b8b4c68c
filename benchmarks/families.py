"""Every decoder family and vision tower that transformers has, tiny and random, against its own forward.

    python benchmarks/families.py                       # the table, and docs/families.md with --out
    python benchmarks/families.py --only phi3 jetmoe

For each decoder a VLM is made and checked as training and chatting do it. Then packed documents with a picture,
prefill and decode, the last layer where it is read alone, the folder read back, and the folder in transformers where
its config says that it is transformers' LLaVA: each must give the numbers of the family's own forward, to 1e-5 of
the largest. A family is right when it matches, or when a sentence refuses it; other numbers and tracebacks are faults.

Each runs in a process of its own, so that none ends the script. Random weights, no network, a few minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported

import torch
import transformers
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel, LlavaForConditionalGeneration, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from seetell.errors import SeetellError
from seetell.model.attention import NAME
from seetell.model.cache import KeyValueCache
from seetell.model.connector import build_connector
from seetell.model.last_layer import prune
from seetell.model.self_check import check_model
from seetell.model.tower import normalized
from seetell.model.vlm import VLM
from seetell.model.weights import load_model, save_model

TOLERANCE = 1e-5
LARGEST = 10_000_000  # parameters: what is not tiny was not shrunk
TIME_S = 120
VOCABULARY, IMAGE_ID, SIDE_PX, PATCH_PX = 128, 120, 32, 16
LENGTHS = (12, 7, 1, 60)

MATCHES, REFUSED, FAULT, UNTRIED = "matches", "refused", "FAULT", "not tried"


@dataclass(frozen=True)
class Case:
    """A family by its `model_type`, what its config has beside the sizes, and a word for that."""

    kind: str
    given: dict[str, Any]
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} ({self.note})" if self.note else self.kind


@dataclass(frozen=True)
class Row:
    """What became of a case: `verdict` is one of the four above."""

    name: str
    family: str
    verdict: str
    reason: str = ""


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
    "ctrl": {"dff": 48},
    "xlnet": {"max_position_embeddings": ..., "d_head": 8, "d_inner": 48},
    "gemma3n_text": {"num_kv_shared_layers": 0, "layer_types": ["sliding_attention", "full_attention"]},
    "gemma4_text": {"head_dim": ..., "num_kv_shared_layers": 0},
    "dots3_note_text": {"num_attention_heads": ...},
}


def decoder_cases() -> list[Case]:
    """The families of AutoModelForCausalLM that are decoders and no model around one, and the variants."""
    from transformers import CONFIG_MAPPING

    kinds = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    configs: Any = CONFIG_MAPPING
    texts = [kind for kind in kinds if not configs[kind].sub_configs]
    return [Case(kind, {}) for kind in texts] + list(VARIANTS)


def tiny_config(case: Case) -> Any:
    """The family's own config with tiny sizes."""
    from transformers import CONFIG_MAPPING

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
    config = tiny_config(case)
    family: Any = transformers.AutoModelForCausalLM
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
    widths = vision.config.hidden_size, language.config.hidden_size
    constants: dict[str, Any] = {"pixel_mean": (0.5, 0.5, 0.5), "pixel_std": (0.25, 0.25, 0.25)}
    return VLM(vision, build_connector("mlp2", *widths, 2), language, image_id=IMAGE_ID, **constants, **given).eval()


def differs(what: str, ours: Tensor, theirs: Tensor) -> None:
    """Ends the case when two roads to the same numbers differ."""
    largest = theirs.float().abs().max().clamp_min(1e-30)
    difference = float((ours.float() - theirs.float()).abs().max() / largest) if ours.shape == theirs.shape else 9.0
    if not difference <= TOLERANCE:
        raise AssertionError(f"{what}: {difference:.1e} of the largest")


@torch.no_grad()
def compare_decoder(vlm: VLM) -> None:
    """Every way in which this project runs a decoder, against the decoder by itself; AssertionError says which."""
    pixels = torch.randint(0, 256, (2, 3, SIDE_PX, SIDE_PX), generator=torch.Generator().manual_seed(3)).byte()
    documents = _documents(vlm)
    embedded = vlm.merge(torch.cat(documents), vlm.see(pixels)).split(LENGTHS)
    ids, positions = torch.cat(documents), torch.cat([torch.arange(n) for n in LENGTHS])
    ours = vlm.logits(vlm(ids, positions, LENGTHS, pixels=pixels))
    own = own_logits(vlm, embedded)
    differs("packed", ours, torch.cat(own))
    _compare_decoding(vlm, documents, own)
    reread = _compare_folder(vlm, documents, pixels, ours)
    ends = list(accumulate(LENGTHS))
    rows = torch.tensor([2, 3, ends[0] - 1, ends[1] - 1, ends[2] - 1, ends[3] - 9, ends[3] - 1])
    prune(reread.language)
    differs("last layer", reread.logits(reread(ids, positions, LENGTHS, pixels=pixels, rows=rows)), ours[rows])


def _documents(vlm: VLM) -> list[Tensor]:
    """Ids of documents of LENGTHS; the first and the last hold a picture."""
    generator = torch.Generator().manual_seed(2)
    documents = [torch.randint(3, IMAGE_ID, (n,), generator=generator) for n in LENGTHS]
    for index in (0, 3):
        documents[index][1 : 1 + vlm.slots_per_image] = IMAGE_ID
    return documents


def own_logits(vlm: VLM, embedded: Iterable[Tensor]) -> list[Tensor]:
    """Each document [n, D] alone through the family's own forward -> [n, vocabulary]"""
    language = vlm.language
    language.set_attn_implementation("sdpa" if getattr(language, "_supports_sdpa", False) else "eager")
    try:
        return [language(inputs_embeds=one[None], use_cache=False).logits[0] for one in embedded]
    finally:
        language.set_attn_implementation(NAME)


def _compare_decoding(vlm: VLM, documents: list[Tensor], own: list[Tensor]) -> None:
    """The two documents without a picture of 7 and 1 tokens, the first with 4 prefilled, the second with 1 and none."""
    words = [documents[1], torch.cat([documents[2], documents[1][:3]])]
    expected = [own[1], own_logits(vlm, [vlm.embedding(words[1])])[0]]
    cache, given, slots = KeyValueCache(slots=3, max_tokens=16), [4, 1], [2, 0]
    ids = torch.cat([words[0][:4], words[1][:1]])
    positions = torch.cat([torch.arange(4), torch.arange(1)])
    found = vlm.prefill(ids, positions, given, None, cache, slots)
    for step in range(3):
        for row in (0, 1):
            what = "prefill" if step == 0 else "decode"
            differs(what, vlm.logits(found[row]), expected[row][given[row] + step - 1])
        found = vlm.decode(torch.stack([words[row][given[row] + step] for row in (0, 1)]), cache, slots)


def _compare_folder(vlm: VLM, documents: list[Tensor], pixels: Tensor, ours: Tensor) -> VLM:
    """The model written, read back, and opened by transformers where the folder says that it can be."""
    ids, positions = torch.cat(documents), torch.cat([torch.arange(n) for n in LENGTHS])
    with tempfile.TemporaryDirectory() as place:
        save_model(vlm, place)
        reread = load_model(place)
        differs("read back", reread.logits(reread(ids, positions, LENGTHS, pixels=pixels)), ours)
        if '"model_type": "llava"' in (Path(place) / "config.json").read_text().split('"text_config"')[0] or (
            "LlavaForConditionalGeneration" in (Path(place) / "config.json").read_text()
        ):
            family: Any = LlavaForConditionalGeneration
            theirs, report = family.from_pretrained(place, output_loading_info=True)
            for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
                if report[problem]:
                    raise AssertionError(f"in transformers: {problem} {sorted(map(str, report[problem]))[:2]}")
            numbers = normalized(pixels, vlm.pixel_mean, vlm.pixel_std, torch.float32)
            for index, one in ((0, numbers[:1]), (3, numbers[1:])):
                logits = theirs.eval()(input_ids=documents[index][None], pixel_values=one).logits[0]
                start = sum(LENGTHS[:index])
                differs("in transformers", ours[start : start + len(logits)], logits)
    return reread


def try_decoder(case: Case) -> Row:
    """One family, from its config to the last comparison."""
    try:
        language = tiny_decoder(case)
    except Exception as error:
        return Row(case.name, "", UNTRIED, _told(error))
    family = type(language).__name__
    return _judge(case.name, family, lambda: compare_decoder(check_model(join(tiny_tower(), language))))


def _judge(name: str, family: str, compare: Callable[[], None]) -> Row:
    try:
        compare()
    except SeetellError as refusal:
        return Row(name, family, REFUSED, str(refusal))
    except AssertionError as other:
        return Row(name, family, FAULT, f"silent: {other}")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Row(name, family, FAULT, f"traceback: {_told(error)} ({Path(where.filename).name}:{where.lineno})")
    return Row(name, family, MATCHES)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"


def apart(attempt: Callable[[Case], Row], case: Case) -> Row:
    """In a process of its own, with a limit of time."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=lambda: send.send(attempt(case)))
    process.start()
    send.close()
    try:
        row = receive.recv() if receive.poll(TIME_S) else Row(case.name, "", FAULT, f"not done in {TIME_S} s")
    except EOFError:
        row = Row(case.name, "", FAULT, "the process died")
    if process.is_alive():
        process.join(1)
        process.kill()
    process.join()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], help="model types")
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    cases = [case for case in decoder_cases() if not options.only or case.kind in options.only]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_CACHE_HOME"] = place  # a check that passed before is made again
        for case in cases:
            rows.append(apart(try_decoder, case))
            print(f"{rows[-1].name:44s} {rows[-1].verdict:10s} {rows[-1].reason}", flush=True)
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in (MATCHES, REFUSED, FAULT, UNTRIED)}
    print(counts)


if __name__ == "__main__":
    main()
