"""Tower, connector, language model, merge, packed attention, and weights in and out. It knows tensors, not nouns."""
