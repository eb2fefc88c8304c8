"""What a language model is told about a prompt, and how its answer is judged. No engine is needed here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from artsim.config import Level
from artsim.prompts import fold, redact, split_clauses, without_names

MIN_CHARS, MAX_CHARS = 16, 600
"""Length of an answer; 75 tokens of CLIP are about 350 characters of English."""
MAX_TOLD_BYTES = 1024
"""Genre and caption, as UTF-8; no byte-level tokenizer makes more tokens than bytes of them."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"prompt": {"type": "string", "minLength": MIN_CHARS, "maxLength": MAX_CHARS}},
    "required": ["prompt"],
    "additionalProperties": False,
}

INSTRUCTIONS: dict[Level, str] = {
    "moderate": (
        "The version must be recognised at first sight: its main subject stays what it is and where it is, and so does "
        "the composition. What may differ is colour, light, technique and minor details, led by the approach."
    ),
    "radical": (
        "The version must be a bold departure that still grows out of the picture. Follow the approach that is named, "
        "and no other, all the way: nothing of the picture has to survive but its idea."
    ),
}
FORM = (
    "You direct an image model that repaints pictures. You are told what a picture shows, and you write the one prompt "
    "from which its next version is painted. {rules} Write at most {num_words} words of plain English: short phrases "
    "that can be seen, parted by commas, the subject first. Do not mention artists, titles, this task or the original "
    'picture. Answer in JSON: {{"prompt": "..."}}'
)
DESCRIPTIONS: dict[Level, dict[str, str]] = {
    "moderate": {
        "palette": "Choose two or three other colours that go together and let them rule the whole picture.",
        "light": "Move the source of light or the hour of the day, and let shadows and highlights follow.",
        "technique": "Keep every form, and lay the paint in another manner of brushwork, line or glaze.",
        "weather": "Let another season or another weather reach into the picture, through air, ground and surfaces.",
        "details": "Add or alter a few secondary things around the main subject, and shift the colours a little.",
    },
    "radical": {
        "historical_transposition": "Take everything to one distant age, with its clothes, tools, houses and images.",
        "cultural_reinterpretation": "Retell it in the visual language, patterns and materials of one other culture.",
        "surreal_deformation": "Break the laws of space and matter as dreams do: things melt, float, merge and repeat.",
        "medium_change": "Make it of one unexpected material or craft, and let its grain and its limits show.",
        "emotional_reframing": "Give it one overwhelming feeling that the picture lacks, and bend every form to it.",
        "mythological_reinvention": "Turn figures and things into the gods, beasts and omens of an invented legend.",
        "technological_aesthetics": "Render it as one machine or instrument would draw, sense or display it.",
        "scale_change": "Make the tiny huge or the huge tiny, so that one part becomes a world or all becomes a speck.",
        "symbolic_transformation": "Replace the scene by a few plain signs that carry its meaning, and much left bare.",
        "organic_reimagining": "Let all of it be alive: grown from roots, shells, feathers, skin or cells.",
        "scientific_visualisation": "Show it as a scientist's plate or plot, with false colours, sections and scales.",
    },
}

_CAPTION = "The picture shows:"
_ECHO_WORDS = 9  # in a row, of what the model was told: more than a happy coincidence, less than a sentence
_LABEL = re.compile(rf"\b(Genre:|Approach:|{_CAPTION})")
_CANNOT = (
    r"(can't|cannot|can not|couldn't|could not|won't|will not|am unable to|'m unable to|am not able to|'m not able to)"
)
_REFUSALS = (
    rf"^(i|we) ?({_CANNOT}|must decline|decline|do not feel|don't feel|am not comfortable|'m not comfortable)\b",
    r"^(i'm sorry|i am sorry|sorry|my apologies|i apologi[sz]e)[,. ]+(but|i|i'm|we|that|this|for)\b",
    r"^unfortunately,? (i|i'm|we|this request|that request)\b",
    r"\b(as|i am|i'm) an (ai|artificial intelligence)( language)?( model| assistant)?[,.]? (i|my|and)\b",
    rf"\b(i|we) ?{_CANNOT} (create|generate|write|provide|produce|fulfil+|assist|help|comply|complete|engage)\b",
    r"\bagainst (my|our) (guidelines|policy|policies|programming|principles)\b",
    r"\bviolates? (my|our|the|any)?\b[^.,]{0,30}\b(content policy|content policies|guidelines)\b",
)
_REFUSAL = re.compile("|".join(_REFUSALS), re.IGNORECASE)


class AnswerError(ValueError):
    """An answer that is no prompt; the message is `reason: ...` with one of schemas.REASONS."""


def conversation(row: dict[str, Any], approach: str, max_tokens: int) -> list[dict[str, str]]:
    """What a model is asked about a row: the level's rules, the same for all rows, then the picture and the approach.

    The caption's words that name the artist or the title are left out. Raises AnswerError: too much to be told.
    """
    level, genre = row["level"], (row["genre"] or "").replace("_", " ")
    told = redact(row["caption"], row["artist"], row["title"])
    if (size := len(f"{genre}{told}".encode("utf-8", "replace"))) > MAX_TOLD_BYTES:
        raise AnswerError(f"too_large: {size} bytes of genre and caption, more than {MAX_TOLD_BYTES}")
    lines = [f"Genre: {genre}"] if genre else []
    lines += [f"{_CAPTION} {told}"] if told else []
    lines += [f"Approach: {approach.replace('_', ' ')}. {DESCRIPTIONS[level][approach]}"]
    return [
        {"role": "system", "content": FORM.format(rules=INSTRUCTIONS[level], num_words=num_words(max_tokens))},
        {"role": "user", "content": "\n".join(lines)},
    ]


def num_words(max_tokens: int) -> int:
    """Words of English that fit in so many of CLIP's tokens, marks included."""
    return max_tokens * 3 // 5


def shorter(asked: Sequence[dict[str, str]], prompt: str, num_tokens: int, max_tokens: int) -> list[dict[str, str]]:
    """The conversation that asks for a prompt again, in fewer words by as much as it was too long, and then some."""
    words = max(8, int(len(prompt.split()) * max_tokens / num_tokens * 0.85))
    return [
        *asked,
        {"role": "assistant", "content": json.dumps({"prompt": prompt}, ensure_ascii=False)},
        {"role": "user", "content": f"That is too long. Say it again in at most {words} words."},
    ]


def read_answer(answer: str, asked: Sequence[dict[str, str]], artist: str | None, title: str | None) -> str:
    """The prompt that an answer holds, without clauses that name the artist or the title.

    Raises AnswerError: the answer is cut off, empty, a refusal or an echo, or no clause is without a name.
    """
    text = _prompt_of(answer)
    if not fold(text):
        raise AnswerError("empty: the answer has no words")
    if is_refusal(text):
        raise AnswerError(f"refused: {text[:200]}")
    if is_echo(text, asked):
        raise AnswerError(f"echo: {text[:200]}")
    unnamed = without_names(text, artist, title)
    if not fold(unnamed):
        raise AnswerError("invalid_output: every clause names the artist or the title")
    return unnamed


def is_refusal(text: str) -> bool:
    """Whether a model speaks of itself and declines, rather than of a picture of refusal."""
    return bool(_REFUSAL.search(text.replace("’", "'").strip(" \"'*")))


def is_echo(text: str, asked: Sequence[dict[str, str]]) -> bool:
    """Whether a text repeats what the model was told: a label, a long run of its rules, or the caption and no more.

    A prompt may quote the caption at any length, so long as it adds to it.
    """
    told = [line for message in asked if message["role"] != "assistant" for line in message["content"].splitlines()]
    rules = [fold(line) for line in told if not line.startswith(_CAPTION)]
    captions = [fold(line.removeprefix(_CAPTION)) for line in told if line.startswith(_CAPTION)]
    words = fold(text).split()
    runs = [" ".join(words[start : start + _ECHO_WORDS]) for start in range(len(words) - _ECHO_WORDS + 1)]
    repeated = any(f" {run} " in f" {rule} " for run in runs for rule in rules)
    return repeated or " ".join(words) in captions or bool(_LABEL.search(text))


def _prompt_of(answer: str) -> str:
    """The text in an answer of SCHEMA, without control characters, one blank between words."""
    try:
        text = str(json.loads(answer)["prompt"])
        text.encode()  # half a surrogate pair, which JSON can spell, is no text
    except (ValueError, TypeError, KeyError) as error:
        raise AnswerError(f"invalid_output: {type(error).__name__} in {answer[:200]!r}") from error
    clauses = split_clauses(text)
    if len(text) >= MAX_CHARS and len(clauses) > 1:  # the schema ended it, perhaps inside a word
        text = ", ".join(clauses[:-1])
    return " ".join("".join(letter for letter in text if letter.isprintable() or letter.isspace()).split())
