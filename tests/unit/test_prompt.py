"""Prompts follow the rules of their level, are dealt out evenly, and name neither artist nor title."""

from collections import Counter

import numpy as np
import pytest

from artsim.config import APPROACHES, LEVELS, PromptConfig
from artsim.schemas import Batch
from artsim.stages.prompt import PAIRS, TEXTS, WritePrompt, count_tokens, expand

CAPTION = (
    "a dim picture with soft contrast, mostly umber with rust, touches of gold, warm in tone, brightest at the top"
)


def rows(ids: list[str], config: PromptConfig | None = None, caption: str = CAPTION) -> Batch:
    index, added = expand(ids, config or PromptConfig(), 0)
    level, variant = added["level"], added["variant"]
    facts = {
        "genre": "Naive_Art_Primitivism",
        "artist": "henri-rousseau",
        "title": "the sleeping gypsy",
        "caption": caption,
    }
    columns = {name: np.full(len(index), value, object) for name, value in facts.items()}
    return columns | {"id": np.array(ids, object)[index], "level": level, "variant": variant}


def write(batch: Batch, **settings: int) -> Batch:
    return WritePrompt(PromptConfig(**settings), seed=0)(batch)


def test_every_approach_comes_up_as_often_as_the_others() -> None:
    written = write(rows([f"Genre/painting-{k}" for k in range(3000)]))
    for level, approaches in APPROACHES.items():
        counts = Counter(written["approach"][written["level"] == level])
        assert set(counts) == set(approaches)
        expected = 3000 / len(approaches)
        chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
        assert chi_square < 30  # 11 approaches: a fair deal exceeds 29.6 once in a thousand


def test_variants_of_a_painting_take_different_approaches() -> None:
    written = write(rows(["Genre/one"], PromptConfig(num_variants=5)))
    for level in LEVELS:
        assert len(set(written["approach"][written["level"] == level])) == 5


def test_there_are_eleven_radical_approaches_and_texts_for_all() -> None:
    assert len(APPROACHES["radical"]) == 11
    assert {level: tuple(texts) for level, texts in TEXTS.items()} == APPROACHES


def test_a_row_does_not_depend_on_its_batch() -> None:
    batch = rows([f"Genre/{k}" for k in range(20)])
    whole = write(batch)
    order = np.random.default_rng(0).permutation(len(batch["id"]))[:7]
    part = write({name: column[order] for name, column in batch.items()})
    assert part["prompt"].tolist() == whole["prompt"][order].tolist()


def test_caption_and_genre_are_in_and_names_are_not() -> None:
    caption = f"{CAPTION}, a forgery by Rousseau, titled The Sleeping Gypsy"
    for prompt in write(rows([f"Genre/{k}" for k in range(20)], caption=caption))["prompt"]:
        assert "mostly umber with rust" in prompt
        assert "in the manner of Naive Art Primitivism" in prompt
        assert "rousseau" not in prompt.lower()
        assert "gypsy" not in prompt.lower()


def test_missing_metadata_is_no_obstacle() -> None:
    batch = rows(["Genre/one"])
    nothing = np.full(len(batch["id"]), None, object)
    for prompt in write(batch | {"genre": nothing, "artist": nothing, "title": nothing})["prompt"]:
        assert "None" not in prompt
        assert "manner" not in prompt


@pytest.mark.parametrize("limit", [16, 30, 75])
def test_long_prompts_lose_whole_clauses(limit: int) -> None:
    batch = rows([f"Genre/{k}" for k in range(200)])
    texts = [text for level in TEXTS.values() for texts in level.values() for text in (*texts.leads, *texts.touches)]
    known = {text.format(dark=dark, light=light) for text in texts for dark, light in PAIRS}
    known |= {*CAPTION.split(", "), "in the manner of Naive Art Primitivism"}
    pieces = {piece for clause in known for piece in clause.split(", ")}
    written = write(batch, max_tokens=limit)
    assert written["num_tokens"].max() <= limit
    assert {piece for prompt in written["prompt"] for piece in prompt.split(", ")} <= pieces


def test_tokens_are_words_and_marks() -> None:
    assert count_tokens("a dim picture, warm: half-lit") == 9


def test_both_levels_or_one_by_share() -> None:
    ids = [f"Genre/{k}" for k in range(4000)]
    index, added = expand(ids[:2], PromptConfig(num_variants=2), 0)
    level, variant = added["level"], added["variant"]
    assert index.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert level.tolist() == ["moderate", "moderate", "radical", "radical"] * 2
    assert variant.tolist() == [0, 1] * 4
    index, added = expand(ids, PromptConfig(levels="share", moderate_share=0.2), 0)
    level, variant = added["level"], added["variant"]
    assert index.tolist() == list(range(4000))
    assert np.mean(level == "moderate") == pytest.approx(0.2, abs=0.02)
    again = expand(ids[3000:], PromptConfig(levels="share", moderate_share=0.2), 0)[1]["level"]
    assert again.tolist() == level[3000:].tolist()
