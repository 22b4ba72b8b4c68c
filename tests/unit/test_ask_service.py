"""What a client learns from status 400, over real HTTP; what one refused or over-long request does to the others."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from seetell.ask.chat import Completion, Message
from seetell.ask.client import Endpoint
from seetell.ask.request import Request
from seetell.cli.options import temperature_of
from seetell.errors import ServiceError, UsageError
from seetell.evals.answerers import AskedAnswerer
from seetell.evals.judge import AS_EVER, Judge, Manner
from seetell.types import Item, Unscored
from seetell.verbs.eval import eval as evaluate
from tests.mock_teacher import Behaviour, Messages, Teacher, serving
from tests.tiny_benchmarks import BENCHMARKS
from tests.tiny_teacher import run, scenes
from tests.unit.test_evals_judge import items, judged

SYSTEM = (Message("system", "Be short."), Message("user", "hello"))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def reasons(body: dict[str, Any]) -> dict[str, Any] | None:
    """As OpenAI's models that reason do."""
    if "max_tokens" in body:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return {"message": text, "param": "max_tokens", "code": "unsupported_parameter"}
    if body.get("temperature", 1) != 1:
        text = (
            "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) is supported."
        )
        return {"message": text, "param": "temperature", "code": "unsupported_value"}
    return None


def has_no_system(body: dict[str, Any]) -> dict[str, Any] | None:
    said = any(message["role"] == "system" for message in body["messages"])
    return {"message": "System role not supported"} if said else None


def alternates(body: dict[str, Any]) -> dict[str, Any] | None:
    """As a chat template of Mistral's does."""
    text = "After the optional system message, conversation roles must alternate user/assistant/user/assistant/..."
    return {"message": text} if body["messages"][0]["role"] == "system" else None


def strict(body: dict[str, Any]) -> dict[str, Any] | None:
    """A server that knows no limit at all and says so as FastAPI does."""
    extra = next((name for name in ("max_tokens", "max_completion_tokens") if name in body), None)
    return None if extra is None else {"detail": [{"loc": ["body", extra], "msg": "Extra inputs are not permitted"}]}


def reads_little(body: dict[str, Any]) -> dict[str, Any] | None:
    if "long" in str(body["messages"]):
        text = "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens."
        return {"message": text, "code": "context_length_exceeded", "param": "messages"}
    return None


def refuses_one(body: dict[str, Any]) -> dict[str, Any] | None:
    return {"message": "Invalid image data"} if "broken" in str(body["messages"]) else None


def everything(body: dict[str, Any]) -> dict[str, Any] | None:
    return {"message": "Nobody is in today", "seen": len(body)}


def ask(url: str, messages: tuple[Message, ...] = SYSTEM, times: int = 1, at_once: int = 1) -> list[Completion]:
    async def all_of_them() -> list[Completion]:
        endpoint = Endpoint("tiny", url)
        try:
            said: list[Completion] = []
            for _ in range(times):
                asked = (endpoint.complete(messages, temperature=0.0, max_tokens=7) for _ in range(at_once))
                said += await asyncio.gather(*asked)
            return said
        finally:
            await endpoint.close()

    return asyncio.run(all_of_them())


def sent(teacher: Teacher) -> dict[str, Any]:
    """What was asked last, apart from how the reply is to come."""
    how = ("headers", "model", "stream", "stream_options")
    return {name: value for name, value in teacher.bodies[-1].items() if name not in how}


def test_a_model_that_reasons_is_asked_in_its_own_words_and_learned_once(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Behaviour(refuses=reasons)) as teacher:
        assert all(said.text for said in ask(teacher.url, times=3))
        assert teacher.counts["refused"] == 2
        assert teacher.counts["well"] == 3
        assert sent(teacher) == {
            "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hello"}],
            "max_completion_tokens": 7,
        }
    told = capsys.readouterr().err
    assert told.count("max_completion_tokens") == 1
    assert told.count("temperature") == 1


def test_what_is_under_way_learns_together() -> None:
    with serving(Behaviour(refuses=reasons, latency_s=0.01)) as teacher:
        assert len(ask(teacher.url, at_once=8)) == 8
        assert teacher.counts["well"] == 8


@pytest.mark.parametrize("refuses", [has_no_system, alternates])
def test_a_service_without_a_system_role_hears_it_from_the_user(refuses: Any) -> None:
    with serving(Behaviour(refuses=refuses)) as teacher:
        ask(teacher.url, times=2)
        assert sent(teacher)["messages"] == [{"role": "user", "content": "Be short.\n\nhello"}]
        assert teacher.counts["refused"] == 1


def test_a_system_text_goes_before_the_pictures_of_the_user() -> None:
    pictures: Any = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with serving(Behaviour(refuses=has_no_system, answer=two_scores)) as teacher:
        ask(teacher.url, (Message("system", "Be short."), Message("user", pictures)))
        assert sent(teacher)["messages"][0]["content"] == [{"type": "text", "text": "Be short."}, *pictures]


def test_a_service_that_knows_no_limit_gets_none() -> None:
    with serving(Behaviour(refuses=strict)) as teacher:
        ask(teacher.url)
        assert set(sent(teacher)) == {"messages", "temperature"}


def test_what_teaches_nothing_is_refused_with_its_reason() -> None:
    with serving(Behaviour(refuses=everything)) as teacher, pytest.raises(ServiceError, match="Nobody is in today"):
        ask(teacher.url)


def test_a_limit_that_is_too_large_is_not_dropped() -> None:
    def refuses(body: dict[str, Any]) -> dict[str, Any] | None:
        return {"message": "max_tokens is too large: 7. At most 5 are taken.", "param": "max_tokens", "n": len(body)}

    with serving(Behaviour(refuses=refuses)) as teacher, pytest.raises(ServiceError, match="too large"):
        ask(teacher.url)


# ------------------------------------------------------------------------------------------------- judges


def judge(url: str, journal: Path, manner: Manner = AS_EVER) -> Judge:
    return Judge(Endpoint("wise", url), journal, manner=manner)


def two_scores(messages: Messages) -> str:
    del messages
    return "8 6"


def test_a_judge_that_reasons_judges_and_its_journal_replays_as_ever(tmp_path: Path) -> None:
    with serving(Behaviour(refuses=reasons, answer=two_scores)) as teacher:
        rows = judged(judge(teacher.url, tmp_path / "journal.jsonl"), items(4))
        assert not [row for row in rows if isinstance(row.result, Unscored)]
        assert teacher.counts["well"] == 4
    again = judged(Judge(None, tmp_path / "journal.jsonl"), items(4))
    assert [row.result for row in again] == [row.result for row in rows]


def test_a_judges_manner_is_the_users(tmp_path: Path) -> None:
    with serving(Behaviour(answer=two_scores)) as teacher:
        judged(judge(teacher.url, tmp_path / "one.jsonl", Manner(None, 8000)), items(1))
        assert (sent(teacher).get("temperature"), sent(teacher)["max_tokens"]) == (None, 8000)
        judged(judge(teacher.url, tmp_path / "two.jsonl", Manner(1.0, 0)), items(1))
        assert (sent(teacher)["temperature"], sent(teacher).get("max_tokens")) == (1.0, None)


def test_one_answer_too_long_for_the_judge_has_no_score_and_the_others_have(tmp_path: Path) -> None:
    asked = items(5)
    asked[0] = Item("0", "What is it, and why so long?", (), ("reference",), "conv", "0", asked[0].facts)
    with serving(Behaviour(refuses=reads_little, answer=two_scores)) as teacher:
        rows = judged(judge(teacher.url, tmp_path / "journal.jsonl"), asked)
    (lost,) = [row.result for row in rows if isinstance(row.result, Unscored)]
    assert lost.item_id == "0"
    assert lost.why.startswith("too long for the judge: This model's maximum context length is 4096 tokens")


def test_a_judge_that_is_cut_off_says_what_would_help(tmp_path: Path) -> None:
    with serving(Behaviour(faults={"cut off": 1.0}, answer=lambda _: "")) as teacher:
        rows = judged(judge(teacher.url, tmp_path / "journal.jsonl"), items(1))
    assert isinstance(rows[0].result, Unscored)
    assert "--judge-max-tokens" in rows[0].result.why


def test_the_first_reason_is_printed_and_kept(tmp_path: Path) -> None:
    data, answers = tmp_path / "data", tmp_path / "mine.jsonl"
    data.mkdir()
    BENCHMARKS["llava_bench"](data)
    answers.write_text("".join(json.dumps({"question_id": n, "text": "A cat."}) + "\n" for n in range(5)))
    with serving(Behaviour(refuses=everything)) as teacher, pytest.raises(ServiceError, match="Nobody is in today"):
        evaluate("llava_bench", [f"answers:{answers}"], tmp_path / "out", data=data, judge=f"openai:wise@{teacher.url}")
    (scores,) = (tmp_path / "out").glob("runs/*/scores.jsonl")
    assert "Nobody is in today" in json.loads(scores.read_text().splitlines()[0])["why"]


def test_a_temperature_is_a_number_or_none() -> None:
    assert (temperature_of("none"), temperature_of("0"), temperature_of("0.7")) == (None, 0.0, 0.7)
    for text in ("warm", "-1", "nan", "inf"):
        with pytest.raises(UsageError, match="none"):
            temperature_of(text)
    assert "temperature" not in Request("m", SYSTEM, None).body()


# ----------------------------------------------------------------------------- teachers, and models with eyes


def test_one_scene_too_long_for_the_teacher_is_rejected_and_the_others_are_kept(tmp_path: Path) -> None:
    some = [*scenes(3), scenes(4)[3]]
    some[0] = type(some[0])("long", ("A long, long story.",), some[0].boxes, some[0].image, 64, 48)
    with serving(Behaviour(refuses=reads_little)) as teacher:
        report, stopped = run(tmp_path, Endpoint("t", teacher.url), shares={"detail": 1.0}).go(some)
        assert not stopped
        assert (report["kept"], report["rejected"]) == ({"detail": 3}, {"too long for the service": 1})
        run(tmp_path, Endpoint("t", teacher.url), shares={"detail": 1.0}).go(some)
        assert teacher.counts["received"] == 4  # it would be too long again
    (row,) = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert "4096" in row["detail"]


def test_one_refused_request_does_not_end_the_run_and_a_service_that_takes_none_does(tmp_path: Path) -> None:
    some = scenes(5)
    some[0] = type(some[0])("bad", ("A broken thing.",), some[0].boxes, some[0].image, 64, 48)
    with serving(Behaviour(refuses=refuses_one)) as teacher:
        report, stopped = run(tmp_path / "one", Endpoint("t", teacher.url), shares={"detail": 1.0}).go(some)
    assert not stopped
    assert (report["kept"], report["failed"]) == ({"detail": 4}, {"refused (400, Invalid image data)": 1})
    with serving(Behaviour(refuses=everything)) as teacher:
        report, stopped = run(tmp_path / "none", Endpoint("t", teacher.url), concurrency=1).go(scenes(20))
        assert teacher.counts["received"] == 3
    assert "Nobody is in today" in stopped
    assert report["pending"] == 57


def test_a_question_that_cannot_be_asked_is_a_refused_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [Item(str(n), f"{word} question") for n, word in enumerate(("a", "a long", "another", "a broken"))]

    def refuses(body: dict[str, Any]) -> dict[str, Any] | None:
        return reads_little(body) or refuses_one(body)

    with serving(Behaviour(refuses=refuses, answer=two_scores)) as teacher:
        model = AskedAnswerer(Endpoint("t", teacher.url), tmp_path / "asked.jsonl", eyes=True, max_new_tokens=16)
        found = list(model.answer(asked))
    assert [answer.finish_reason for answer in found] == ["stop", "refused", "stop", "refused"]
    assert [bool(answer.text) for answer in found] == [True, False, True, False]
    assert "maximum context length" in capsys.readouterr().err
