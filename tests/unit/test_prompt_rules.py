"""A model is told the rules and no names; what it answers is a prompt, or a failure with its reason."""

import json
import re
from typing import Any

import pytest

from artsim.config import APPROACHES, LEVELS
from artsim.schemas import REASONS
from artsim.stages.prompt_rules import (
    DESCRIPTIONS,
    MAX_CHARS,
    AnswerError,
    conversation,
    is_echo,
    is_refusal,
    read_answer,
    shorter,
)

ROW = {
    "level": "radical",
    "genre": "Naive_Art_Primitivism",
    "artist": "henri-rousseau",
    "title": "the sleeping gypsy",
    "caption": "a woman asleep in a desert by Henri Rousseau, a lion beside her, a jug and a mandolin on the sand",
}
PROMPT = "a lion of stained glass over a sleeper, cobalt and amber panes, black lead lines, sun from behind"


def asked(approach: str = "medium_change", **changes: Any) -> list[dict[str, str]]:
    return conversation(ROW | changes, approach, max_tokens=75)


def read(text: str) -> str:
    return read_answer(json.dumps({"prompt": text}), asked(), ROW["artist"], ROW["title"])


def test_every_approach_is_described() -> None:
    assert {level: tuple(texts) for level, texts in DESCRIPTIONS.items()} == APPROACHES


@pytest.mark.parametrize("level", LEVELS)
def test_the_rules_are_the_same_for_all_rows_of_a_level(level: str) -> None:
    systems = {asked(approach, level=level, genre=approach)[0]["content"] for approach in DESCRIPTIONS[level]}
    assert len(systems) == 1
    assert "45 words" in systems.pop()


def test_a_model_is_told_genre_caption_and_approach_but_no_names() -> None:
    told = " ".join(message["content"] for message in asked())
    assert "Naive Art Primitivism" in told
    assert "a woman asleep in a desert, a lion beside her, a jug and a mandolin on the sand" in told
    assert DESCRIPTIONS["radical"]["medium_change"] in told
    assert not re.search("rousseau|gypsy|_", told, re.IGNORECASE)


def test_missing_metadata_is_not_told() -> None:
    told = asked(genre=None, artist=None, title=None, caption="")[1]["content"]
    assert told == f"Approach: medium change. {DESCRIPTIONS['radical']['medium_change']}"


def test_a_caption_that_would_fill_the_model_is_a_failure_of_its_row() -> None:
    with pytest.raises(AnswerError, match=r"^too_large: \d+ bytes"):
        asked(caption="a woman, " * 200)


def test_too_long_a_prompt_is_asked_for_again_in_fewer_words() -> None:
    first = asked()
    again = shorter(first, PROMPT, num_tokens=100, max_tokens=75)
    assert again[:2] == first
    assert json.loads(again[2]["content"]) == {"prompt": PROMPT}
    asked_for = int(re.findall(r"\d+", again[3]["content"])[0])
    assert len(PROMPT.split()) / 2 < asked_for < len(PROMPT.split()) * 75 / 100


@pytest.mark.parametrize(
    "text",
    [
        "I cannot create a prompt that depicts violence.",
        "I can’t help with that request.",
        "I'm sorry, but I am not able to write this prompt.",
        "Sorry, but this request asks for content that is not suitable.",
        "I apologize, but I won't describe this picture.",
        "As an AI language model, I do not have feelings about paintings.",
        "Unfortunately, I can only describe harmless pictures.",
        "The picture shows a nude figure, so I cannot generate this prompt.",
        "This goes against my guidelines, so no prompt is given.",
        "I must decline to repaint a religious scene.",
    ],
)
def test_refusals_are_failures(text: str) -> None:
    assert is_refusal(text)
    with pytest.raises(AnswerError, match=r"^refused: "):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        PROMPT,
        "a refusal of light, a window that cannot open, apologies written on the walls in chalk",
        "a saint who declines the crown, sorry eyes, unable to stand, umber shadows",
        "a robot as an AI oracle, it glows in cyan, policy papers burning, guidelines drawn in graphite",
        "an idol that can't be touched, we see only its shadow, unfortunately small figures below",
        "Iron gates that will not open, ice, a guard sorry for the prisoners",
    ],
)
def test_a_prompt_about_refusal_is_none(text: str) -> None:
    assert not is_refusal(text)
    assert read(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Follow the approach that is named, and no other, all the way",
        "a lion, short phrases that can be seen, parted by commas, the subject first",
        "Approach: medium change, a lion of glass",
        "The picture shows: a lion in the sand",
        "A woman asleep in a desert, a lion beside her, a jug and a mandolin on the sand.",
        "Make it of one unexpected material or craft, and let its grain show",
    ],
)
def test_echoes_are_failures(text: str) -> None:
    assert is_echo(text, asked())
    with pytest.raises(AnswerError, match=r"^echo: "):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        PROMPT,
        "a woman asleep in a desert, a lion beside her, a jug and a mandolin on the sand, all of it folded from paper",
        "one unexpected material, wicker, its grain and its limits show, a lion and a sleeper woven together",
        "a quiet approach to the genre: a lion at dusk, short strokes, the subject first in shadow",
    ],
)
def test_a_prompt_that_quotes_the_caption_and_adds_to_it_is_no_echo(text: str) -> None:
    assert not is_echo(text, asked())
    assert read(text) == text


def test_a_prompt_that_is_asked_for_again_may_repeat_its_first_version() -> None:
    again = shorter(asked(), PROMPT, num_tokens=90, max_tokens=75)
    assert not is_echo(PROMPT, again)


@pytest.mark.parametrize("text", ["...", "   \n\t          ", "? ! ? ! ? ! ? ! ?", "12 34 56 78 90 12 34"])
def test_an_answer_without_words_is_empty(text: str) -> None:
    with pytest.raises(AnswerError, match=r"^empty: "):
        read(text)


@pytest.mark.parametrize(
    "answer",
    [
        '{"prompt": "a lion of stained gla',
        "a lion of stained glass",
        '{"text": "a lion of stained glass"}',
        '["a lion of stained glass"]',
        r'{"prompt": "a lion of stained glass \ud800"}',
        "",
    ],
)
def test_an_answer_of_another_form_is_invalid(answer: str) -> None:
    with pytest.raises(AnswerError, match=r"^invalid_output: "):
        read_answer(answer, asked(), None, None)


def test_clauses_with_names_are_cut_and_a_prompt_of_nothing_else_fails() -> None:
    assert read(f"{PROMPT}, after Henri Rousseau, moonlight") == f"{PROMPT}, moonlight"
    with pytest.raises(AnswerError, match=r"^invalid_output: every clause"):
        read("a lion painted by Rousseau, the sleeping gypsy in glass")


def test_what_the_schema_ended_loses_its_last_clause() -> None:
    whole = ", ".join(["a lion of stained glass"] * 40)
    kept = read(whole[:MAX_CHARS])
    assert len(kept) < MAX_CHARS
    assert set(kept.split(", ")) == {"a lion of stained glass"}


def test_blanks_and_control_characters_are_cleaned() -> None:
    assert read("a lion\n\tof  stained\u0000 glass at noon") == "a lion of stained glass at noon"


def test_reasons_are_of_the_list() -> None:
    for answer in ('{"prompt": "..."}', "{", '{"prompt": "I cannot help with that."}', '{"prompt": "Genre: a lion"}'):
        with pytest.raises(AnswerError) as caught:
            read_answer(answer, asked(), None, None)
        assert str(caught.value).partition(": ")[0] in REASONS
