"""Names stay out of prompts and captions, and what is cut is cut after a clause."""

import pytest

from artsim.prompts import has_name, redact, shorten, split_clauses, without_names


@pytest.mark.parametrize(
    ("clause", "named"),
    [
        ("a jungle after Rousseau", True),
        ("Rousseau's jungle", True),
        ("the sleeping gypsy under a moon", True),
        ("a sleeping figure under a moon", False),
        ("rousseauesque leaves", False),
        ("", False),
    ],
)
def test_a_name_is_a_whole_word_of_the_artist_or_the_whole_title(clause: str, named: bool) -> None:
    assert has_name(clause, "henri-rousseau", "The Sleeping Gypsy") is named


def test_names_are_found_whatever_their_accents() -> None:
    assert has_name("apples after Cézanne", "paul-cezanne", None)
    assert has_name("apples after Cezanne", "paul-cézanne", None)
    assert not has_name("apples on a table", None, None)


def test_a_text_loses_the_clauses_that_hold_names_and_no_others() -> None:
    text = "a jungle at night; a lion, in the manner of Rousseau. moonlight"
    assert without_names(text, "henri-rousseau", None) == "a jungle at night, a lion, moonlight"
    assert without_names(text, "claude-monet", None) == text
    assert without_names("painted by Rousseau", "henri-rousseau", None) == ""


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        ("a painting of a woman by Henri Rousseau in a jungle", "a painting of a woman in a jungle"),
        ("a field by Vincent van Gogh, a van beside it", "a field by Vincent van Gogh, a van beside it"),
        ("a lion and the sleeping gypsy, moonlight", "a lion and, moonlight"),
        ("Rousseau's lion", "lion"),
    ],
)
def test_a_caption_keeps_its_subject_without_names(caption: str, told: str) -> None:
    assert redact(caption, "henri-rousseau", "the sleeping gypsy") == told


def test_short_parts_of_a_name_go_with_the_others() -> None:
    told = redact("a field by Vincent van Gogh, a van beside it", "vincent-van-gogh", "wheat field")
    assert told == "a field, a van beside it"


def test_clauses_that_do_not_fit_are_left_out_whole() -> None:
    clauses = split_clauses("one two; three four five, six. seven")
    assert shorten(clauses, 4, lambda text: len(text.split())) == "one two, six, seven"
    assert shorten(clauses, 1, lambda text: len(text.split())) == "one two"
