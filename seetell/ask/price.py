"""What tokens cost: US dollars a million, as the user says, or for a few well-known names as their makers list them.

Lists go stale (these are of 2025), so `--price IN,OUT` always wins; cached and batch discounts are left out, which
makes every figure an upper bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from seetell.errors import UsageError


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars a million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


PRICES = {
    "gpt-4o": Price(2.5, 10.0),
    "gpt-4o-mini": Price(0.15, 0.6),
    "gpt-4.1": Price(2.0, 8.0),
    "gpt-4.1-mini": Price(0.4, 1.6),
    "gpt-4.1-nano": Price(0.1, 0.4),
    "gpt-4-turbo": Price(10.0, 30.0),
    "gpt-4": Price(30.0, 60.0),
    "gpt-3.5-turbo": Price(0.5, 1.5),
}


def price_of(model: str, said: str | None) -> Price | None:
    """`said` is `IN,OUT`; None when neither the user nor the list knows."""
    if said is None:
        return PRICES.get(model)
    try:
        prompt, completion = (float(word) for word in said.split(","))
    except ValueError:
        raise UsageError(
            f"--price is two numbers, dollars a million tokens in and out, as 2.5,10; not {said!r}."
        ) from None
    if not (math.isfinite(prompt) and math.isfinite(completion)) or min(prompt, completion) < 0:
        raise UsageError(f"--price cannot be {said!r}: dollars are not negative.")
    return Price(prompt, completion)
