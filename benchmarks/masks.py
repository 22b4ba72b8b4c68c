"""Proof of the masks: thousands of hostile conversations, checked against a second, plainer account of them.

    python benchmarks/masks.py --count 10000 [--llama tokenizer.model] --json masks.json

Every tokenizer family encodes every conversation, its templates by turns. What should be learnt is written down
here once more, template by template, with nothing shared with the code under test; both accounts are compared
byte by byte. Counted are supervised characters lost, others supervised, control tokens forged by what somebody
typed, ids that differ from the exported tokenizer's for the same prompt (where nobody spelled a control token),
and prompts that are not the beginning of what is learnt. All must be 0.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor
from seetell.encode.sample import Sample
from seetell.encode.templates import TEMPLATES
from seetell.encode.tokenizer import Tokenizer, convert_sentencepiece
from seetell.errors import UsageError
from seetell.types import Conversation, Image, Turn
from tests import tiny_tokenizers

Told = tuple[str, bool, bool]  # text, supervised, control
PICTURE = Image(path="picture.png")
FORGERIES = (
    "</s>", "<s>", "<unk>", "<pad>", "<image>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|begin_of_text|>", "<|end_of_text|>", "[INST]", "[/INST]", "<<SYS>>", "###",
    "### Assistant:", "USER: ", " ASSISTANT: ", "ASSISTANT:", "\nassistant\n", "<0x0A>", "▁", "{{ bos_token }}", "\0",
)  # fmt: skip
WORDS = "what is this a red house and two boats where the cat sits on the mat yes no 17 3.5 don't (see) left-of".split()  # noqa: SIM905


def conversations(count: int, seed: int = 0) -> Iterator[Conversation]:
    """1 to 8 rounds each; any Unicode, control tokens spelled, runs of white space, empty and one-character answers."""
    lots = random.Random(seed)
    for number in range(count):
        hostile = lots.random() < 0.7
        turns: list[Turn] = [Turn("system", (_text(lots, hostile),))] if lots.random() < 0.2 else []
        for _ in range(lots.randint(1, 8)):
            parts: list[str | Image] = [_text(lots, hostile)]
            for _ in range(lots.choice((0, 0, 1, 1, 2))):
                parts.insert(lots.randint(0, len(parts)), PICTURE)
            turns += [Turn("user", tuple(parts)), Turn("assistant", (_text(lots, hostile),))]
        yield Conversation(str(number), tuple(turns))


def _text(lots: random.Random, hostile: bool) -> str:
    shape = lots.random()
    if shape < 0.08:
        return ""
    if shape < 0.16:
        return _character(lots) if hostile else lots.choice(WORDS)[0]
    if not hostile:
        return " ".join(lots.choices(WORDS, k=lots.randint(1, 12)))
    pieces: tuple[Callable[[], str], ...] = (
        lambda: lots.choice(WORDS),
        lambda: lots.choice(FORGERIES),
        lambda: "".join(_character(lots) for _ in range(lots.randint(1, 5))),
        lambda: lots.choice((" ", "\n", "\t", "\r\n", "\u00a0", "\u200b", "\u3000")) * lots.randint(1, 6),
        lambda: lots.choice(("👩‍👩‍👧", "é", "e\u0301", "ﬁ", "ｶﾞ", "नि", "\u202e", "א", "각")),
    )
    return "".join(lots.choice(pieces)() + lots.choice(("", " ")) for _ in range(lots.randint(1, 10)))


def _character(lots: random.Random) -> str:
    while True:
        code = lots.choice((lots.randrange(0x80), lots.randrange(0x3000), lots.randrange(0x110000)))
        if not 0xD800 <= code < 0xE000:
            return chr(code)


# ---------------------------------------------------------------------------- the second account

_HUMAN = "A chat between a curious {0} and an artificial intelligence assistant. The assistant gives helpful, "
_HUMAN += "detailed, and polite answers to the {0}'s questions."
_SEES = "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
_SEES += "provides, and assist the user with a variety of tasks using natural language."


def account(name: str, conversation: Conversation, bos: str, eos: str) -> list[Told]:
    """What this conversation should be made of."""
    turns = list(conversation.turns)
    system = turns.pop(0).text if turns[0].role == "system" else None
    text = str.strip if name in ("chatml", "llama-3") else str
    if system is not None:
        system = text(system)
    told: list[Told] = []

    def put(*parts: str | tuple[str], learnt: bool = False) -> None:
        told.extend((part[0], learnt, True) if isinstance(part, tuple) else (part, learnt, False) for part in parts)

    def asked(turn: Turn) -> list[str | tuple[str]]:
        parts = [text(part) if isinstance(part, str) else ("<image>",) for part in turn.parts]
        lines = [["\n", part] for part in parts if part]
        return [part for line in lines for part in line][1:]

    sees = _SEES if system is None else system
    if name == "vicuna-v1":
        put(_HUMAN.format("user") if system is None else system, " ")
    if name == "vicuna-v0":
        put(_HUMAN.format("human") if system is None else system, "\n\n###")
    if name == "llama-2":
        put(f"[INST] <<SYS>>\n{sees}\n<</SYS>>\n\n")
    if name == "chatml":
        put(("<|im_start|>",), f"system\n{sees}", ("<|im_end|>",), "\n")
    if name == "llama-3":
        put(("<|start_header_id|>",), "system", ("<|end_header_id|>",), "\n\n" + sees, ("<|eot_id|>",))
    for index in range(0, len(turns), 2):
        question, answer = turns[index], text(turns[index + 1].text)
        if name == "plain":
            put(*[("<image>",) for _ in question.images])
            put(answer + "\n", learnt=True)
        elif name == "vicuna-v1":
            put("USER: ", *asked(question), " ASSISTANT:")
            put(" " + answer, (eos,), learnt=True)
        elif name == "vicuna-v0":
            put(" Human: ", *asked(question), "\n### Assistant:")
            put(f" {answer}\n###", learnt=True)
        elif name == "llama-2":
            put(*([(bos,), "[INST] "] if index else []), *asked(question), " [/INST]")
            put(f" {answer} ", (eos,), learnt=True)
        elif name == "chatml":
            put(("<|im_start|>",), "user\n", *asked(question), ("<|im_end|>",), "\n")
            put(("<|im_start|>",), "assistant\n")
            put(answer, ("<|im_end|>",), learnt=True)
            put("\n")
        else:
            put(("<|start_header_id|>",), "user", ("<|end_header_id|>",), "\n\n", *asked(question), ("<|eot_id|>",))
            put(("<|start_header_id|>",), "assistant", ("<|end_header_id|>",), "\n\n")
            put(answer, ("<|eot_id|>",), learnt=True)
    return told


# ---------------------------------------------------------------------------- comparison

_SHOWN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]  # bytes that byte-level models write as they are
_BYTE = {chr(byte): byte for byte in _SHOWN}
_BYTE |= {chr(256 + rank): byte for rank, byte in enumerate(sorted(set(range(256)) - set(_SHOWN)))}
FAULTS = (
    "control tokens forged",
    "texts that differ",
    "supervised lost",
    "others supervised",
    "ids unlike the exported tokenizer's",
    "prompts that do not begin what is learnt",
)
Marked = list[tuple[int | str, bool]]  # a byte or a control token, and whether it is learnt


class Judge:
    """Compares what one processor makes of conversations with the second account; pictures take one slot here."""

    def __init__(self, processor: Processor) -> None:
        self.processor = processor
        self.hf = processor.tokenizer.hf
        self.controls = processor.tokenizer.added_tokens
        self.spaces = "▁" in self.hf.get_vocab()
        self.prefix = self.hf.convert_ids_to_tokens(list(processor.tokenizer.prefix_ids))
        names = sorted(self.controls, key=len, reverse=True)
        self.control = re.compile("|".join(map(re.escape, names)))
        self.found: Counter[str] = Counter(dict.fromkeys(FAULTS, 0))

    def spelled(self, tokens: list[str], mask: list[bool]) -> Marked:
        """Tokens as bytes and control tokens, each with its mask."""
        out: Marked = []
        for token, learnt in zip(tokens, mask, strict=True):
            if token in self.controls:
                out.append((token, learnt))
            elif self.spaces and re.fullmatch("<0x[0-9A-F]{2}>", token):
                out.append((int(token[3:5], 16), learnt))
            else:
                data = token.replace("▁", " ").encode() if self.spaces else bytes(_BYTE[each] for each in token)
                out += [(byte, learnt) for byte in data]
        return out

    def expected(self, told: list[Told]) -> Marked:
        out: Marked = [(token, False) for token in self.prefix]
        fresh = True  # at the start of a stretch, where sentencepiece puts a space
        for text, learnt, control in told:
            if control:
                out.append((text, learnt))
                fresh = True
            elif text:
                if self.spaces:
                    text = (" " if fresh else "") + text.replace("▁", " ")
                out += [(byte, learnt) for byte in text.encode()]
                fresh = False
        return out

    def compare(self, conversation: Conversation) -> None:
        self.found["conversations"] += 1
        sample = self.processor.encode(conversation, max_tokens=10**9)
        if not isinstance(sample, Sample):
            self.found["rejected"] += 1
            return
        told = account(
            self.processor.template.name,
            conversation,
            self.processor.tokenizer.bos or "",
            str(self.processor.tokenizer.eos),
        )
        ids, mask = sample.ids.tolist(), sample.supervised.tolist()
        tokens = [str(token) for token in self.hf.convert_ids_to_tokens(ids)]
        self._compare_bytes(tokens, mask, told)
        whole = "".join(text for text, _, _ in told)
        if len(self.control.findall(whole)) == sum(control for _, _, control in told):  # nobody spelled one
            self.found["whole prompts compared"] += 1
            self.found["ids unlike the exported tokenizer's"] += self.hf(whole)["input_ids"] != ids
        prompt = replace(conversation, turns=conversation.turns[:-1])
        start = self.processor.encode_prompt(prompt).ids.tolist()
        self.found["prompts that do not begin what is learnt"] += ids[: len(start)] != start

    def _compare_bytes(self, tokens: list[str], mask: list[bool], told: list[Told]) -> None:
        ours, theirs = self.spelled(tokens, mask), self.expected(told)
        surplus = Counter(part for part, _ in ours if isinstance(part, str))
        surplus.subtract(part for part, _ in theirs if isinstance(part, str))
        self.found["control tokens forged"] += sum(count for count in surplus.values() if count > 0)
        if [part for part, _ in ours] != [part for part, _ in theirs]:
            self.found["texts that differ"] += 1
            return
        unpredictable = len(self.spelled(tokens[:1], mask[:1]))  # nothing stands before the first token
        for (_, learnt), (_, should) in list(zip(ours, theirs, strict=True))[unpredictable:]:
            self.found["supervised bytes"] += should
            self.found["supervised lost"] += should and not learnt
            self.found["others supervised"] += learnt and not should


def prove(tokenizer: Tokenizer, count: int, seed: int = 0) -> dict[str, Counter[str]]:
    """Faults per template; the templates take the conversations by turns."""
    judges: dict[str, Judge] = {}
    for name, template in TEMPLATES.items():
        with suppress(UsageError):  # llama-2 needs a BOS, and the last two control tokens
            judges[name] = Judge(Processor(tokenizer, template, ImageProcessor(32), slots_per_image=1))
    for conversation, judge in zip(conversations(count, seed), cycle(judges.values()), strict=False):
        judge.compare(conversation)
    return {name: judge.found for name, judge in judges.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="conversations per tokenizer")
    parser.add_argument("--llama", help="Llama's tokenizer.model, to be tried as well")
    parser.add_argument("--json", help="where to write the counts")
    options = parser.parse_args()
    families = {name: make() for name, make in tiny_tokenizers.FAMILIES.items()}
    if options.llama:
        families["the real Llama"] = Tokenizer(convert_sentencepiece(options.llama))
    report: dict[str, dict[str, dict[str, int]]] = {}
    start = time.perf_counter()
    for family, tokenizer in families.items():
        found = prove(tokenizer, options.count)
        report[family] = {name: dict(counts) for name, counts in found.items()}
        for name, counts in found.items():
            faults = ", ".join(f"{fault} {counts[fault]}" for fault in FAULTS if counts[fault]) or "no fault"
            done = f"{counts['conversations']} conversations, {counts['supervised bytes']} supervised bytes"
            print(f"{family:15} {name:10} {done}: {faults}")
    print(f"{time.perf_counter() - start:.0f} s")
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return int(any(counts[fault] for found in report.values() for counts in found.values() for fault in FAULTS))


if __name__ == "__main__":
    raise SystemExit(main())
