"""Answering: a running batch of token streams, a chat that grows, and an answerer for measures."""

LONGEST_ANSWER_TOKENS = 256  # unless another number is asked for
