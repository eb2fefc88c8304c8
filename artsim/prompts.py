"""Rules that every prompt keeps to, whoever writes it: its approach, names it may not hold, where it may be cut."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from artsim.config import APPROACHES, Level
from artsim.schemas import row_seed

GIVEN = "given"
"""In the place of an approach where a version existed already: it is not known."""


def approach_of(seed: int, row_id: str, level: Level, variant: int) -> str:
    """The approach of a row: each is as likely as the others, and the variants of a painting take turns."""
    approaches = APPROACHES[level]
    return approaches[(row_seed(seed, row_id, level) + int(variant)) % len(approaches)]


def split_clauses(text: str) -> list[str]:
    """The clauses of a sentence, parted at commas, semicolons and full stops."""
    return [clause.strip() for clause in re.split(r"[,;.\n]+", text) if clause.strip()]


def has_name(clause: str, artist: str | None, title: str | None) -> bool:
    """Whether a clause holds a name of the artist (four letters or more), all names or the title, accents aside."""
    words = fold(clause).split()
    wholes = [whole for whole in (fold(artist or ""), fold(title or "")) if whole]
    return any(name in words for name in _names(artist)) or any(f" {w} " in f" {' '.join(words)} " for w in wholes)


def without_names(text: str, artist: str | None, title: str | None) -> str:
    """The clauses of a text that hold no name, the text as it was where that is all of them; empty: none is left."""
    clauses = split_clauses(text)
    kept = [clause for clause in clauses if not has_name(clause, artist, title)]
    return text if len(kept) == len(clauses) else ", ".join(kept)


def redact(text: str, artist: str | None, title: str | None) -> str:
    """A text without the words that name the artist or the title, and without the `by` before them."""
    text = unicodedata.normalize("NFC", text)
    found = list(re.finditer(r"([^\W\d_]+)(['’]s\b)?", text))
    words, called = [fold(word[1]) for word in found], fold(title or "").split()
    hidden = {at for at, word in enumerate(words) if word in _names(artist)}
    for at in range(len(words) - len(called) + 1):
        if called and words[at : at + len(called)] == called:
            hidden |= set(range(at, at + len(called)))
    short = set(fold(artist or "").split())  # the `van` of a name, if it stands beside another part of it
    hidden |= {at for at, word in enumerate(words) if word in short and hidden & {at - 1, at + 1}}
    hidden |= {at for at, word in enumerate(words) if word == "by" and at + 1 in hidden}
    for at in sorted(hidden, reverse=True):
        text = text[: found[at].start()] + text[found[at].end() :]
    return re.sub(r"\s+([,;.])", r"\1", " ".join(text.split()))


def shorten(clauses: Sequence[str], max_tokens: int, count: Callable[[str], int]) -> str:
    """The clauses that fit, in order; one that would not is left out whole. The first is always there."""
    text = clauses[0]
    for clause in clauses[1:]:
        longer = f"{text}, {clause}"
        text = longer if count(longer) <= max_tokens else text
    return text


def fold(text: str) -> str:
    """The words of a text, in small letters without accents and marks, one blank between them."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return " ".join(re.findall(r"[^\W\d_]+", plain.lower()))


def _names(artist: str | None) -> list[str]:
    return [name for name in fold(artist or "").split() if len(name) > 3]
