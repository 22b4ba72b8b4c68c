"""A vision tower, a connector and a language model: what LLaVA is.

`see` turns pictures into embeddings, `merge` puts them where the text has slots for them, `forward` runs
packed documents through the language model and `logits` its head. `prefill` and `decode` are the same for
answering, with a cache. The tower and the language model are transformers' own modules, unchanged.

Source  Liu et al. 2023, arXiv:2304.08485.

Shapes  T tokens of packed documents, K documents, N images, P slots of an image, V tower width,
        D language width, S running rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Self, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from seetell.errors import BadInput, UsageError
from seetell.model.attention import NAME, Attending, Packed, check_language
from seetell.model.cache import Decode, KeyValueCache, Prefill
from seetell.model.config import ModelConfig, three
from seetell.model.connector import LinearStack
from seetell.model.limits import original_context
from seetell.model.pieces import to_device
from seetell.model.tower import hidden_state, normalized, width


class VLM(nn.Module):
    """Sees and tells. `keep_cls` gives the tower's CLS token a slot of its own, before the patches."""

    vision: PreTrainedModel
    connector: LinearStack
    language: PreTrainedModel

    def __init__(
        self,
        vision: PreTrainedModel,
        connector: LinearStack,
        language: PreTrainedModel,
        *,
        image_id: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        feature_layer: int = -2,
        keep_cls: bool = False,
    ) -> None:
        super().__init__()
        check_language(language)
        language.set_attn_implementation(NAME)
        vision.requires_grad_(False).eval()
        self.vision = vision
        self.connector = connector
        self.language = language
        self._context = original_context(language.config)
        self._vision_width = width(vision.config)
        # It holds the parts' own configs: a vocabulary that grows does so in it too.
        self.config = config = ModelConfig(
            vision=vision.config,
            language=language.config,
            connector=connector.name,
            image_id=image_id,
            pixel_mean=three(pixel_mean),
            pixel_std=three(pixel_std),
            feature_layer=feature_layer,
            keep_cls=keep_cls,
        )
        self.image_id, self.feature_layer, self.layers_used = image_id, feature_layer, config.layers_used
        self.keep_cls, self.drops_cls = config.keep_cls, config.drops_cls
        self.side_px, self.patch_px, self.slots_per_image = config.side_px, config.patch_px, config.image_tokens
        self.pixel_constants = config.pixel_mean, config.pixel_std

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return self.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the language model is stored in."""
        return self.embedding.weight.dtype

    @property
    def embedding(self) -> nn.Embedding:
        """The language model's table of token embeddings, [vocabulary, D]."""
        return cast(nn.Embedding, self.language.get_input_embeddings())

    @property
    def head(self) -> nn.Linear:
        """What turns hidden states into logits, [vocabulary, D]; the same weight as the table where they are tied."""
        return cast(nn.Linear, self.language.get_output_embeddings())

    @property
    def pixel_mean(self) -> Tensor:
        """[3] float32: not a buffer, so that a model cast to bfloat16 normalizes as before."""
        return to_device(torch.tensor(self.pixel_constants[0], dtype=torch.float32), self.vision.device)

    @property
    def pixel_std(self) -> Tensor:
        """[3] float32"""
        return to_device(torch.tensor(self.pixel_constants[1], dtype=torch.float32), self.vision.device)

    def train(self, mode: bool = True) -> Self:
        """As nn.Module's, but the tower, which is never trained, stays in evaluation."""
        super().train(mode)
        self.vision.eval()
        return self

    @torch.no_grad()
    def tower_features(self, pixels: Tensor) -> Tensor:
        """uint8 or normalized [N, 3, H, W] -> [N, P, V]"""
        if pixels.shape[0] == 0:
            return torch.zeros(
                0, self.slots_per_image, self._vision_width, dtype=self.vision.dtype, device=pixels.device
            )
        numbers = normalized(pixels, self.pixel_mean, self.pixel_std, self.vision.dtype)
        hidden = hidden_state(self.vision, numbers, self.layers_used)
        return hidden[:, 1:] if self.drops_cls else hidden

    def see(self, pixels: Tensor) -> Tensor:
        """uint8 or normalized [N, 3, H, W] -> [N, P, D]; no image gives [0, P, D], still in the connector's graph."""
        return self.connector(self.tower_features(pixels))

    def merge(self, ids: Tensor, features: Tensor, image_rows: Tensor | None = None) -> Tensor:
        """[T], [N, P, D] -> [T, D]: the text's embeddings, with the pictures' in their slots, in order.

        `image_rows` [N * P] are the places of the slots; without them they are looked for, and the host waits.
        """
        rows = (ids == self.image_id).nonzero().squeeze(1) if image_rows is None else image_rows
        given = features.shape[0] * features.shape[1]
        if rows.shape[0] != given:
            raise BadInput(
                f"The text has {rows.shape[0]} image tokens and the pictures fill {given} "
                f"({features.shape[0]} of {features.shape[1]}): encode them with this model's own processor."
            )
        embeddings = self.embedding(ids)
        return embeddings.index_copy(0, rows, features.flatten(0, 1).to(embeddings.dtype))

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        lengths: Sequence[int],
        pixels: Tensor | None = None,
        features: Tensor | None = None,
        *,
        parents: Sequence[int] = (),
        rows: Tensor | None = None,
        host_rows: Tensor | None = None,
        image_rows: Tensor | None = None,
    ) -> Tensor:
        """ids, positions [T], K lengths, and pixels [N, 3, H, W] or features [N, P, D] -> hidden [T, D].

        Pictures are given as pixels, or as what `see` made of them; neither is the same as none. A document whose
        entry in `parents` is not -1 continues that earlier document. With `rows` [R], ascending, only their hidden
        states are returned, [R, D], and where the last layer can leave out the rest, it does. `host_rows`, the same on
        the host, and `image_rows`, the places of the slots, spare the host two waits for the device.
        """
        attending = Packed(lengths, parents, rows, host_rows)
        embeddings = self._embed(ids, pixels, features, image_rows)
        hidden = self.run(embeddings[None], positions[None], attending)[0]
        return hidden if rows is None or hidden.shape[0] < ids.shape[0] else hidden[rows]

    def logits(self, hidden: Tensor) -> Tensor:
        """[*, D] -> [*, vocabulary]"""
        return self.head(hidden)

    @torch.no_grad()
    def prefill(
        self,
        ids: Tensor,
        positions: Tensor,
        lengths: Sequence[int],
        features: Tensor | None,
        cache: KeyValueCache,
        slots: Sequence[int],
    ) -> Tensor:
        """ids, positions [T], K lengths, features [N, P, D] -> the last hidden state of each document, [K, D].

        Document i goes to slots[i], behind what that slot holds: its positions then begin at `cache.lengths[slots[i]]`.
        """
        attending = Prefill(lengths, cache, slots)
        hidden = self.run(self._embed(ids, None, features)[None], positions[None], attending)[0]
        attending.finish()
        return hidden[torch.tensor(list(accumulate(lengths)), device=hidden.device) - 1]

    @torch.no_grad()
    def decode(self, ids: Tensor, cache: KeyValueCache, slots: Sequence[int]) -> Tensor:
        """One token for each running row: ids [S], ids[i] continues slots[i] -> hidden [S, D]"""
        attending = Decode(cache, slots, ids.device)
        embeddings = self.embedding(ids)[:, None]
        hidden = self.run(embeddings, attending.positions[:, None], attending)[:, 0]
        attending.finish()
        return hidden

    def _embed(
        self, ids: Tensor, pixels: Tensor | None, features: Tensor | None, image_rows: Tensor | None = None
    ) -> Tensor:
        """[T], pictures -> [T, D]"""
        if features is None:
            if pixels is None:
                pixels = torch.zeros(0, 3, self.side_px, self.side_px, dtype=torch.uint8, device=ids.device)
            features = self.see(pixels)
        return self.merge(ids, features, image_rows)

    def run(self, embeddings: Tensor, positions: Tensor, attending: Attending) -> Tensor:
        """The language model's body alone: [B, T, D], [B, T] -> [B, T, D]"""
        if self._context is not None and attending.longest > self._context:
            raise UsageError(
                f"Beyond {self._context} tokens {type(self.language).__name__} chooses its rotary frequencies by the "
                f"longest document of a pass, which here has {attending.longest}: set max_tokens to {self._context} or "
                "less."
            )
        return self.language.base_model(
            inputs_embeds=embeddings, position_ids=positions, use_cache=False, attending=attending
        ).last_hidden_state
