"""Captions cut into words the Penn Treebank's way, as caption measures count them: `ptb-like`.

Lower case; clitics apart (`don't` is `do n't`, `man's` is `man 's`); words joined by a hyphen, a stroke or a point,
abbreviations and numbers whole; brackets named (`-lrb-`, `-rrb-`); other single marks left out. Java's PTBTokenizer,
which the COCO server runs, differs on rare text (URLs, elisions such as `'80s`), so figures can differ from the
server's in the second decimal.
"""

from __future__ import annotations

import re
import unicodedata

NAME = "ptb-like"
_WORD = re.compile(
    r"\d+(?:[.,:/]\d+)+"  # 3.5, 1,000, 10:30, 1/2
    r"|(?:[^\W\d_]\.){2,}(?!\w)"  # u.s.
    r"|(?:mr|mrs|ms|dr|st|jr|sr|vs|etc|ave|blvd|rd|mt|co|inc|ltd|corp|dept|prof|gen|col|capt|lt|sgt|rev|no)\.(?!\w)"
    r"|[^\W_]+(?:(?:[-/_.@]|(?<!\d)')[^\W_]+)*"
    r"|'(?:s|m|d|ll|re|ve)\b"  # a clitic that stands apart already
    r"|[!?]{2,}"
    r"|[][(){}/&%$#@+*=~^|<>°£€]"
)
_NO = re.compile(r"\bno\.(?!\s*\d)")  # "no." is a number's name before a number, else a word at its sentence's end
_CLITIC = re.compile(r"(.+?)(n't|'(?:s|m|d|ll|re|ve))", re.DOTALL)
_SPLIT_WORDS = {
    "cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na", "gimme": "gim me", "lemme": "lem me",
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
}  # fmt: skip


def words(caption: str) -> tuple[str, ...]:
    found: list[str] = []
    plain = _NO.sub("no", unicodedata.normalize("NFC", caption).lower().replace("’", "'"))
    for word in map(str, _WORD.findall(plain)):
        if clitic := _CLITIC.fullmatch(word):
            found += clitic.groups()
        else:
            found += _SPLIT_WORDS.get(word, word).split()
    return tuple(found)
