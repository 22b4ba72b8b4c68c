"""The engine's cache: the model's, which grows as the conversations do and can copy a beginning from slot to slot.

Room for every slot's longest possible conversation would be gigabytes that a short question never touches.

Shapes  S slots, G key-value heads, L room in tokens, E head width.
"""

from __future__ import annotations

from torch import Tensor

from seetell.model.cache import KeyValueCache

FIRST_ROOM_TOKENS = 128


class GrowingCache(KeyValueCache):
    """Begins with little room and doubles it when a row asks for more."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots, FIRST_ROOM_TOKENS)

    def check_room(self, slot: int, tokens: int) -> None:
        """Makes the room instead of refusing; the engine has refused what the model's context cannot hold."""
        needed = self.lengths[slot] + tokens
        if needed > self.max_tokens:
            self.max_tokens = max(needed, 2 * self.max_tokens)
            self._layers = {
                layer: (self._moved(key), self._moved(value)) for layer, (key, value) in self._layers.items()
            }

    def copy(self, donor: int, slot: int, tokens: int) -> None:
        """Makes `slot` hold the first `tokens` tokens of `donor` and nothing else."""
        if donor != slot:
            for key, value in self._layers.values():
                key[slot, :, :tokens] = key[donor, :, :tokens]
                value[slot, :, :tokens] = value[donor, :, :tokens]
        self.lengths[slot] = tokens

    def _moved(self, old: Tensor) -> Tensor:
        """[S, G, L, E] -> the same in a larger L"""
        new = old.new_zeros(self.slots, old.shape[1], self.max_tokens, old.shape[3])
        new[:, :, : old.shape[2]] = old
        return new
