"""Captions cut into words the Penn Treebank's way, as caption measures count them: `ptb-like`.

Lower case; clitics apart (`don't` is `do n't`, `man's` is `man 's`); hyphenated words, abbreviations with inner
points and numbers whole; punctuation left out. Java's PTBTokenizer, which the COCO server runs, differs on rare
text (fractions, URLs, currency), so figures can differ from the server's in the second decimal.
"""

from __future__ import annotations

import re

NAME = "ptb-like"
_WORD = re.compile(
    r"\d+(?:[.,:/]\d+)+"  # 3.5, 1,000, 10:30, 1/2
    r"|(?:[^\W\d_]\.){2,}"  # u.s.
    r"|(?:mr|mrs|ms|dr|st|jr|sr|vs|etc)\.(?=\s)"
    r"|[^\W_]+(?:[-'’][^\W_]+)*"
    r"|[&%$#@+*=~^|<>°£€]"
)
_CLITIC = re.compile(r"(.+?)(n't|'(?:s|m|d|ll|re|ve))", re.DOTALL)
_SPLIT_WORDS = {
    "cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na", "gimme": "gim me", "lemme": "lem me",
}  # fmt: skip


def words(caption: str) -> tuple[str, ...]:
    found: list[str] = []
    for word in map(str, _WORD.findall(caption.lower().replace("’", "'"))):
        if clitic := _CLITIC.fullmatch(word):
            found += clitic.groups()
        else:
            found += _SPLIT_WORDS.get(word, word).split()
    return tuple(found)
