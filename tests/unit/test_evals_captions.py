"""Captions are cut into words as the Penn Treebank tokenizer of the official measure cuts them."""

from __future__ import annotations

import pytest

from seetell.evals.caption_words import words


@pytest.mark.parametrize(
    ("caption", "cut"),
    [
        ("A man (x) here [y].", "a man -lrb- x -rrb- here -lsb- y -rsb-"),
        ("black/white photo, w/ hat", "black/white photo w / hat"),
        ("hello!!! Is it? Yes!", "hello !!! is it yes"),
        ("a dog.And a man_woman", "a dog.and a man_woman"),
        ("No. 5 on Main St.", "no. 5 on main st."),
        ("There is no. Dogs, cats, etc.", "there is no dogs cats etc."),
        ("the U.S. flag", "the u.s. flag"),
        ("don't, man's and it 's", "do n't man 's and it 's"),
        ("5'10\" tall", "5 10 tall"),
        ("cafe\u0301 at 10:30", "caf\u00e9 at 10:30"),
    ],
)
def test_words(caption: str, cut: str) -> None:
    assert " ".join(words(caption)) == cut
