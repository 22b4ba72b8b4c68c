"""Noun phrases of captions, by whichever chunker there is.

    spacy      a parser, when spaCy and an English model can be imported: the paper's own choice
    built-in   word lists and a rule or two, with lemmas from `lemminflect` where it is installed

The built-in one needs no model and no network. It cuts a caption at words that cannot be inside a noun phrase
(prepositions, pronouns, verbs, punctuation, …), takes articles and numbers off the front, and what cannot be a noun off
the end; the last word is put into the singular. It keeps apart what a parser would: "young woman seated on the beach"
has "young woman" and "beach". It errs where a word may be noun or verb ("the team plays"), which it takes for a noun.

Source: the filter of Liu et al. 2023 (arXiv:2304.08485), which used spaCy's noun chunks.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal

from seetell.config import nearest
from seetell.errors import UsageError

Chunker = Callable[[Iterable[str]], Iterator[list[str]]]
CHUNKERS = ("auto", "spacy", "built-in")
SPACY_MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm", "en_core_web_trf")
MAX_WORDS = 5  # of a phrase: the last ones, where a run is longer

Class = Literal["front", "break", "verb", "modifier", "noun"]

_TOKEN = re.compile(r"[a-zà-ÿ]+(?:-[a-zà-ÿ]+)*|'s\b|\d+|[^\sa-zà-ÿ\d]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FRONT = _words(
    "a an the this that these those my your his her its our their some any no every each all both either another "
    "such one two three four five six seven eight nine ten many few several lots more most other own same first "
    "last"
)
_BREAK = _words(
    "of in on at by for with from to into onto over under above below near beside besides behind between among "
    "through across along around against during after before since until while as than about up down out off "
    "inside outside toward towards upon within without via per like amid amongst beyond despite except next and "
    "or but nor so yet if because although though when where who whom whose which what how why i you he she it we "
    "they me him us them myself himself herself itself themselves there here not n't 's 'm 're 've 'll 'd then "
    "too very also just only even still again ever never always often once now today away back ahead together "
    "apart almost quite rather well"
)
_VERB = _words(
    "is are was were be been being am has have had having do does did doing done can could will would shall "
    "should may might must get gets got getting go goes went going gone come comes came coming take takes took "
    "taken taking make makes made making see sees saw seen seeing give gives gave given show shows showed shown "
    "sit sits sat stand stands stood hold holds held wear wears wore worn eat eats ate eaten ride rides rode "
    "ridden run runs ran lie lies lay lain say says said seem seems become becomes became keep keeps kept let "
    "lets put puts set sets play plays"
)
_MODIFIERS = re.compile(r".+(?:ly|ful|ous|able|ible|ish|less|est)$")
_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
    "mice": "mouse", "geese": "goose", "wives": "wife", "lives": "life", "leaves": "leaf", "wolves": "wolf",
    "knives": "knife", "shelves": "shelf", "loaves": "loaf", "halves": "half", "scarves": "scarf",
}  # fmt: skip
_SAME = re.compile(r".*(?:ss|us|is|as|os|news|series|species|jeans|pants|shorts|glasses|scissors|clothes)$")


def make_chunker(name: str = "auto") -> tuple[Chunker, str]:
    """The chunker, and what to call it in a report."""
    if name not in CHUNKERS:
        raise UsageError(f"There is no chunker {name!r}; {nearest(name, CHUNKERS)}")
    model = _spacy_model() if name != "built-in" else ""
    if model:
        return _spacy_chunker(model), f"spacy ({model})"
    if name == "spacy":
        raise UsageError("No English model of spaCy can be imported: install one, or leave out --chunker.")
    lemmas = "lemminflect" if importlib.util.find_spec("lemminflect") else "own rules"
    return _built_in, f"built-in (lemmas: {lemmas})"


def noun_phrases(caption: str) -> list[str]:
    """The built-in chunker's phrases, each once, in order."""
    found: dict[str, None] = {}
    run: list[str] = []
    after_front = False
    for word in _TOKEN.findall(caption.lower()):
        kind = class_of(word)
        if kind == "verb" and word.endswith(("ing", "ed")) and after_front and not run:
            kind = "modifier"  # "the parked car", "a running dog"
        if kind in ("noun", "modifier"):
            run.append(word)
        elif run:
            _close(run, found)
            run = []
        after_front = kind == "front"
    _close(run, found)
    return list(found)


def _close(run: list[str], found: dict[str, None]) -> None:
    while run and class_of(run[-1]) != "noun":
        run = run[:-1]
    if run and len(run[-1]) > 1:
        found[" ".join([*run[-MAX_WORDS:-1], singular(run[-1])])] = None


@lru_cache(maxsize=1 << 17)
def class_of(word: str) -> Class:
    """What a word is taken for, without looking at its neighbours."""
    if word in _FRONT or word.isdecimal():
        return "front"
    if word in _BREAK or not word[0].isalpha():
        return "break"
    if word in _VERB:
        return "verb"
    lemmas = _lemmas(word)
    if lemmas is None:
        if word.endswith(("ing", "ed")) and len(word) > 5:
            return "verb"
        return "modifier" if _MODIFIERS.match(word) else "noun"
    if "VERB" in lemmas and word.endswith(("ing", "ed")) and "NOUN" not in lemmas:
        return "verb"  # and not "spring", "building", "bed"
    if "NOUN" in lemmas or "PROPN" in lemmas or not lemmas:
        return "noun"
    return "verb" if "VERB" in lemmas else "break" if set(lemmas) == {"ADV"} else "modifier"


@lru_cache(maxsize=1 << 17)
def singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    lemmas = _lemmas(word)
    if lemmas and "NOUN" in lemmas:
        return str(lemmas["NOUN"][0])
    if not word.endswith("s") or len(word) < 4 or _SAME.match(word):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zes")) else word[:-1]


@lru_cache(maxsize=1)
def _lemminflect() -> Any:
    if importlib.util.find_spec("lemminflect") is None:
        return None
    return importlib.import_module("lemminflect").getAllLemmas


def _lemmas(word: str) -> dict[str, tuple[str, ...]] | None:
    """Lemmas by part of speech; None without a dictionary."""
    look_up = _lemminflect()
    return None if look_up is None else look_up(word)


def _built_in(captions: Iterable[str]) -> Iterator[list[str]]:
    return map(noun_phrases, captions)


def _spacy_model() -> str:
    if importlib.util.find_spec("spacy") is None:
        return ""
    return next((name for name in SPACY_MODELS if importlib.util.find_spec(name) is not None), "")


def _spacy_chunker(model: str) -> Chunker:
    pipeline = importlib.import_module(model).load(exclude=["ner"])

    def chunks(captions: Iterable[str]) -> Iterator[list[str]]:
        for parsed in pipeline.pipe(captions, batch_size=256):
            found: dict[str, None] = {}
            for chunk in parsed.noun_chunks:
                words = [token for token in chunk if token.pos_ not in ("DET", "PRON", "NUM", "PUNCT")]
                if words:
                    found[" ".join([*(word.lower_ for word in words[:-1]), words[-1].lemma_.lower()])] = None
            yield list(found)

    return chunks
