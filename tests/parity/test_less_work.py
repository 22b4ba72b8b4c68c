"""Less work, the same numbers: each shortcut against the plain road, loss and gradients, in float64."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from seetell.encode.sample import Sample, Shared, pack
from seetell.model.computing import can_compile, fuse_with_liger, kept_ops, set_computing
from seetell.model.fp8 import FrozenLinear, can_multiply
from seetell.model.last_layer import blocks, is_pruned, prune
from seetell.model.vlm import VLM
from seetell.train.loss import token_losses
from seetell.train.pictures import MicroBatch
from seetell.train.recipe import Data, Stage
from seetell.train.start import ready_model
from tests.tiny_models import IMAGE_ID, SLOTS, tiny_language, tiny_pixels, tiny_vlm

CPU = torch.device("cpu")


def about_one_picture(count: int, seed: int = 0) -> list[Sample]:
    """Conversations that begin with the same words and picture, then part."""
    generator = torch.Generator().manual_seed(seed)
    prefix = torch.cat([torch.tensor([1, 7 + seed]), torch.full((SLOTS,), IMAGE_ID)])
    made = []
    for i in range(count):
        text = torch.randint(3, 100, (6 + 5 * i,), generator=generator)
        ids = torch.cat([prefix, text])
        supervised = torch.zeros(len(ids), dtype=torch.bool)
        supervised[-4:] = supervised[len(prefix) + 1] = True
        made.append(Sample(f"{seed}-{i}", ids, supervised, (f"picture {seed}",)))  # type: ignore[arg-type]
    return made


def plain_batch() -> MicroBatch:
    samples = [*about_one_picture(3), *about_one_picture(1, seed=1)]
    pictures = [*tiny_pixels(1).repeat(3, 1, 1, 1), *tiny_pixels(1, seed=1)]
    return MicroBatch(pack(samples, pictures))


def losses_and_gradients(model: VLM, micro: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
    model.train()
    model.zero_grad(set_to_none=True)
    losses = token_losses(model, micro)
    losses.sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return losses.detach(), found


def assert_same(model: VLM, micro: MicroBatch, other: VLM, other_micro: MicroBatch, within: float = 1e-9) -> None:
    losses, gradients = losses_and_gradients(model, micro)
    other_losses, other_gradients = losses_and_gradients(other, other_micro)
    assert (losses - other_losses).abs().max() <= within * losses.abs().max()
    assert gradients.keys() == other_gradients.keys()
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert (gradient - other_gradients[name]).abs().max() <= within * largest, name


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
def test_the_last_layer_only_where_it_is_read(family: str) -> None:
    plain, pruned = tiny_vlm(language=family).double(), tiny_vlm(language=family).double()
    names = list(pruned.state_dict())
    assert prune(pruned.language) == ""
    assert prune(pruned.language) == "", "twice is once"
    assert list(pruned.state_dict()) == names
    assert_same(plain, plain_batch(), pruned, plain_batch(), within=1e-7)
    ids, positions = torch.arange(3, 10), torch.arange(7)
    assert torch.equal(pruned(ids, positions, [7]), plain(ids, positions, [7])), "all rows where none are named"


def test_a_last_layer_of_another_shape_is_left_alone() -> None:
    language = tiny_language()
    last = blocks(language)[-1]
    last.post_mlp_layernorm = nn.LayerNorm(32)
    assert "Llama's shape" in prune(language)
    del last.post_mlp_layernorm
    forward = type(last).forward

    class Doubled(type(last)):
        def forward(self, *given: object, **named: object) -> Tensor:
            return 2 * forward(self, *given, **named)

    last.__class__ = Doubled
    assert "something else" in prune(language)
    assert not is_pruned(last)


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_what_is_recomputed_is_the_same(checkpointing: str) -> None:
    plain, recomputing = tiny_vlm(), tiny_vlm()
    prune(recomputing.language)
    prune(plain.language)
    set_computing(recomputing.language, checkpointing)
    assert_same(plain, plain_batch(), recomputing, plain_batch(), within=0.0)
    kept = saved_bytes(recomputing, plain_batch())
    assert kept < saved_bytes(plain, plain_batch())
    set_computing(recomputing.language)
    assert saved_bytes(recomputing, plain_batch()) == saved_bytes(plain, plain_batch())


def saved_bytes(model: VLM, micro: MicroBatch) -> int:
    """What the graph keeps for the gradients, weights left aside."""
    weights = {p.data_ptr() for p in model.parameters()}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            found[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        token_losses(model, micro)
    return sum(found.values())


def test_selective_keeps_the_products() -> None:
    assert {"aten::mm", "aten::addmm", "aten::_scaled_dot_product_flash_attention_for_cpu"} <= {
        op.name() for op in kept_ops()
    }


@pytest.mark.skipif(not can_compile(CPU), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiled_blocks_are_the_same_and_compiled_once() -> None:
    plain, compiled = tiny_vlm(), tiny_vlm()
    prune(compiled.language)
    set_computing(compiled.language, "full", compiled=True)
    torch._dynamo.reset()
    assert_same(plain, plain_batch(), compiled, plain_batch(), within=1e-5)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    longer = [*about_one_picture(4, seed=2), *about_one_picture(4, seed=2), *about_one_picture(3, seed=2)]
    other = MicroBatch(pack(longer, list(tiny_pixels(11))))
    assert_same(plain, other, compiled, other, within=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs


def test_conversations_that_share_a_picture_lose_nothing() -> None:
    prefix = 2 + SLOTS
    rows = [Shared(tuple(about_one_picture(3)), prefix), *about_one_picture(1, seed=1)]
    shared = MicroBatch(pack(rows, [*tiny_pixels(1), *tiny_pixels(1, seed=1)]))
    alone = plain_batch()
    assert sum(shared.batch.lengths[:5]) < sum(alone.batch.lengths[:4]) - 2 * SLOTS  # the rest is dead
    for cut in (False, True):
        model = tiny_vlm().double()
        if cut:
            prune(model.language)
        assert_same(tiny_vlm().double(), alone, model, shared, within=1e-7)


def test_liger_is_asked_for_what_the_loss_and_the_last_layer_do_not_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernels need a GPU; its own function is given the decoder, and told what it may touch."""
    asked: list[tuple[object, dict[str, bool]]] = []
    fake = ModuleType("liger_kernel.transformers.monkey_patch")
    fake.__dict__["MODEL_TYPE_TO_APPLY_LIGER_FN"] = {"llama": None}
    fake.__dict__["_apply_liger_kernel_to_instance"] = lambda model, **given: asked.append((model, given))
    model = tiny_vlm()
    assert not fuse_with_liger(model.language), "it is not installed here"
    for name in ("liger_kernel", "liger_kernel.transformers", fake.__name__):
        module = fake if name == fake.__name__ else ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    assert fuse_with_liger(model.language)
    assert not fuse_with_liger(tiny_vlm(language="qwen2").language), "a family it does not know"
    wanted = {"rms_norm": True, "swiglu": True, "rope": False, "cross_entropy": False}
    assert asked == [(model.language, wanted | {"fused_linear_cross_entropy": False})]


def frozen_language() -> VLM:
    model = tiny_vlm()
    model.language.requires_grad_(False)
    return model


ALIGN = Stage(data=(Data("unused"),), lr={"connector": 1e-3}, samples_per_step=4)


def test_frozen_matrices_in_16_bits_are_what_autocast_makes_of_them() -> None:
    plain, held = frozen_language(), frozen_language()
    ready_model(held, ALIGN, torch.bfloat16, 0, CPU)
    kinds = {name: weight.dtype for name, weight in held.state_dict().items()}
    assert kinds["language.model.layers.0.mlp.up_proj.weight"] == torch.bfloat16
    assert kinds["vision.embeddings.patch_embedding.weight"] == torch.bfloat16
    assert kinds["language.model.norm.weight"] == kinds["connector.linear_1.weight"] == torch.float32
    assert kinds["language.model.embed_tokens.weight"] == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(plain, plain_batch(), held, plain_batch(), within=0.0)


@pytest.mark.skipif(bool(can_multiply(CPU)), reason="no 8-bit products here")
def test_frozen_matrices_in_8_bits_come_near() -> None:
    plain, held = frozen_language(), frozen_language()
    ready_model(held, replace(ALIGN, fp8=True), torch.float32, 0, CPU)
    layers = [layer for layer in held.language.modules() if isinstance(layer, FrozenLinear)]
    assert len(layers) == 14, "seven in each of two blocks, the head left alone"
    losses, gradients = losses_and_gradients(plain, plain_batch())
    rough_losses, rough = losses_and_gradients(held, plain_batch())
    assert 0 < float((losses - rough_losses).abs().max()) < 0.1 * float(losses.abs().max())
    flat, rough_flat = (torch.cat([one[name].flatten() for name in sorted(gradients)]) for one in (gradients, rough))
    assert torch.cosine_similarity(flat, rough_flat, dim=0) > 0.98


def test_a_pass_without_labels_reaches_every_weight() -> None:
    model = tiny_vlm()
    idle = about_one_picture(1)[0]
    idle = Sample("idle", idle.ids, torch.zeros_like(idle.supervised), idle.images)
    prune(model.language)
    _, gradients = losses_and_gradients(model, MicroBatch(pack([idle], list(tiny_pixels(1)))))
    assert gradients.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any(gradient.any() for gradient in gradients.values())
