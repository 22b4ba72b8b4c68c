"""Answering: a running batch of token streams, a chat that grows, and an answerer for measures."""
