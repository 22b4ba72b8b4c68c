"""The engine: what joins, what is shared, how an answer ends, and that a failure stays its own."""

from __future__ import annotations

import pytest
import torch

from seetell.errors import BadInput, Failed
from seetell.infer.answerers import OurAnswerer
from seetell.infer.engine import Completion, Engine
from seetell.infer.sampling import Sampling
from seetell.types import Answer, Answerer, Image, Item, Rejected
from tests.tiny_chat import STOP_ID, tiny_engine, tiny_sample
from tests.tiny_models import IMAGE_ID, SLOTS, tiny_vlm

CAT, DOG = Image(data=b"cat"), Image(data=b"dog")


def asking(name: str, question: str, *images: Image):
    return tiny_sample(name, [1, 3, *[IMAGE_ID] * (SLOTS * len(images)), *map(ord, question), 4], images)


def scripted(engine: Engine, *ids: int) -> None:
    """Makes the model say these ids, whoever asks: the n-th token of an answer is the n-th of them."""

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        rows = engine._running[-len(hidden) :]
        out = torch.zeros(len(hidden), 128)
        for at, row in enumerate(rows):
            out[at, ids[min(len(row.ids) - row.prompt_tokens, len(ids) - 1)]] = 1.0
        return out

    engine.vlm.logits = logits  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each prefill computed."""
    counts: list[int] = []
    from seetell.model.vlm import VLM

    prefill = VLM.prefill

    def counting(self: VLM, ids: torch.Tensor, *rest: object) -> torch.Tensor:
        counts.append(len(ids))
        return prefill(self, ids, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(VLM, "prefill", counting)
    return counts


def test_an_answer_ends_at_the_stop_token() -> None:
    engine = tiny_engine()
    scripted(engine, ord("h"), ord("i"), STOP_ID)
    assert engine.submit(asking("a", "Hello?")).result() == Completion("hi", "stop", 9, 0, 2)


def test_an_answer_ends_at_a_stop_string_and_does_not_say_it() -> None:
    engine = tiny_engine(stop=("##",))
    scripted(engine, *map(ord, "ok #1 ##"))
    stream = engine.submit(asking("a", "?"))
    assert "".join(stream) == "ok #1"
    assert stream.result().finish_reason == "stop"


def test_an_answer_ends_at_its_length() -> None:
    engine = tiny_engine()
    scripted(engine, ord("e"))
    done = engine.submit(asking("a", "?", CAT), Sampling(max_new_tokens=3)).result()
    assert done == Completion("eee", "length", 4 + SLOTS, SLOTS, 3)


def test_an_answer_ends_where_the_context_does() -> None:
    engine = tiny_engine()
    scripted(engine, ord("e"))
    prompt = asking("a", "?" * 500)
    done = engine.submit(prompt, Sampling(max_new_tokens=100)).result()
    assert (done.finish_reason, done.tokens) == ("length", 512 - len(prompt))


def test_a_prompt_beyond_the_context_is_refused_in_a_sentence() -> None:
    with pytest.raises(BadInput, match="520 tokens and this model's context is 512"):
        tiny_engine().submit(asking("a", "?" * 517))


def test_a_picture_that_cannot_be_opened_is_refused_alone() -> None:
    engine = tiny_engine()
    prompts = [asking("a", "?", CAT), asking("b", "?", Image(data=b"bad")), asking("c", "?", DOG)]
    answers = engine.generate(prompts, Sampling(max_new_tokens=2))
    assert [type(answer) for answer in answers] == [Completion, Rejected, Completion]
    with pytest.raises(BadInput, match="not a picture"):
        engine.submit(prompts[1])


def test_a_picture_is_opened_once_and_its_prompt_computed_once(computed: list[int]) -> None:
    engine = tiny_engine(slots=8)
    questions = ["what", "where", "how many"]
    prompts = [asking(question, question, image) for question in questions for image in (CAT, DOG)]
    engine.generate(prompts, Sampling(max_new_tokens=3))
    assert engine.processor.image_processor.opened == 2  # pyright: ignore[reportAttributeAccessIssue]
    whole = 2 * len(prompts[0])
    shared = SLOTS + 2
    assert computed == [whole, sum(len(prompt) - shared for prompt in prompts[2:]) - 4]  # and "wh" is shared


def test_what_was_said_is_not_computed_again(computed: list[int]) -> None:
    engine = tiny_engine()
    scripted(engine, ord("y"), STOP_ID)
    first = asking("a", "is it a cat?", CAT)
    engine.generate([first])
    longer = tiny_sample("b", [*first.ids.tolist(), ord("y"), STOP_ID, 3, *map(ord, "sure?"), 4], (CAT,))
    engine.generate([longer])
    assert computed == [len(first), len(longer) - len(first) - 1]


def test_equal_ids_of_another_picture_share_nothing_of_it() -> None:
    vlm = tiny_vlm()
    engine = tiny_engine(vlm=vlm)
    settings = Sampling(max_new_tokens=6)
    both = engine.generate([asking("a", "what is it", CAT), asking("b", "what is it", DOG)], settings)
    alone = [tiny_engine(vlm=vlm).generate([asking("a", "what is it", image)], settings)[0] for image in (CAT, DOG)]
    assert both == alone
    assert both[0] != both[1]


def test_a_prompt_that_ends_with_its_picture_can_be_asked_twice() -> None:
    engine = tiny_engine()
    prompt = tiny_sample("a", [1, *[IMAGE_ID] * SLOTS], (CAT,))
    first, second = engine.generate([prompt, prompt], Sampling(max_new_tokens=5))
    assert first == second == engine.generate([prompt], Sampling(max_new_tokens=5))[0]


def test_a_prompt_may_join_while_others_speak() -> None:
    engine = tiny_engine(slots=2)
    long = engine.submit(asking("a", "one"), Sampling(max_new_tokens=20))
    engine.step()
    late = engine.submit(asking("b", "two"), Sampling(max_new_tokens=2))
    late.result()
    assert long._row.finish_reason is None
    third = engine.submit(asking("c", "three"), Sampling(max_new_tokens=2))
    third.result()
    assert long.result().tokens <= 20


def test_one_who_leaves_early_makes_room() -> None:
    engine = tiny_engine(slots=1)
    scripted(engine, ord("e"))
    stream, waiting = (engine.submit(asking(name, name)) for name in "ab")
    assert next(iter(stream)) == "e"
    stream.cancel()
    assert stream.result().finish_reason == "length"
    assert waiting.result().tokens == 64


def test_a_failure_is_not_hidden_and_the_next_answer_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine(slots=1)
    prompt = asking("a", "hello there, how are you?")
    expected = engine.generate([prompt])
    lost, waiting = engine.submit(prompt), engine.submit(prompt)
    with monkeypatch.context() as patch:
        patch.setattr(engine.vlm, "logits", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lost.result()
    assert waiting.result() == expected[0]
    with pytest.raises(Failed):
        lost.result()


def test_after_forget_a_picture_is_opened_again() -> None:
    engine = tiny_engine()
    engine.generate([asking("a", "?", CAT)])
    engine.forget()
    engine.generate([asking("a", "?", CAT)])
    assert engine.processor.image_processor.opened == 2  # pyright: ignore[reportAttributeAccessIssue]


def test_every_item_is_answered_once() -> None:
    answerer = OurAnswerer(tiny_engine(slots=3), Sampling(max_new_tokens=3))
    assert isinstance(answerer, Answerer)
    items = [Item(str(number), "what?" + "!" * number, (CAT, DOG)[number % 2 :][:1]) for number in range(20)]
    items.insert(5, Item("bad", "what?", (Image(data=b"bad"),)))
    answers = {answer.item_id: answer for answer in answerer.answer(iter(items))}
    assert answers.keys() == {item.id for item in items}
    assert answers["bad"] == Answer("bad", "", "refused")
    assert all(answer.finish_reason in ("stop", "length") for answer in answers.values() if answer.item_id != "bad")


def test_half_precision_answers_too() -> None:
    engine = tiny_engine(vlm=tiny_vlm().to(torch.bfloat16))
    settings = Sampling(max_new_tokens=4, temperature=0.5)
    answers = engine.generate([asking(name, name, CAT) for name in ("one", "two")], settings)
    assert all(isinstance(answer, Completion) for answer in answers)
