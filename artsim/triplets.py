"""Negatives: what an anchor is compared with, drawn inside its split, by how near it is to the anchor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from artsim.config import TripletsConfig
from artsim.neighbours import Kind, Neighbours
from artsim.prompts import GIVEN
from artsim.schemas import Batch, row_seed

Range = tuple[int, int]
NOBODY: Range = (0, 0)


class Facts(NamedTuple):
    """What a picture is known by when negatives are drawn; an unknown genre, artist or approach is empty."""

    id: str
    genre: str
    artist: str
    approach: str = ""


class Order:
    """Pictures in an order in which those that share something lie side by side, and where each of them lies."""

    def __init__(self, rows: Iterable[tuple[str, ...]]) -> None:
        """`rows`: what a picture is sorted by, most important first, then its id."""
        ordered = sorted(rows)
        self.ids = [row[-1] for row in ordered]
        self.at = {painting: at for at, painting in enumerate(self.ids)}
        self._ranges: dict[tuple[str, ...], Range] = {}
        for at, row in enumerate(ordered):
            for length in range(1, len(row)):
                start, _ = self._ranges.get(row[:length], (at, at))
                self._ranges[row[:length]] = start, at + 1

    def range(self, *shared: str) -> Range:
        """Where those lie that share this; an empty range where there are none."""
        return self._ranges.get(shared, NOBODY)

    def pick(self, draw: Draw, among: Range, without: Range, twins: Iterable[str]) -> str | None:
        """One of a range, of which another range and some pictures are left out; None where too few are left."""
        points = [(at, at + 1) for at in (self.at[twin] for twin in twins if twin in self.at)]
        low, high = among
        runs, start = [], low
        for skip_low, skip_high in sorted([without, *points]):
            runs.append((start, min(skip_low, high)))
            start = max(start, skip_high)
        runs = [(begin, end) for begin, end in [*runs, (start, high)] if begin < end]
        at = draw.of(sum(end - begin for begin, end in runs))
        if at is None:
            return None
        for begin, end in runs:
            if at < end - begin:
                return self.ids[begin + at]
            at -= end - begin
        raise AssertionError("the runs hold as many rows as were counted")


class Draw(NamedTuple):
    """Which card of a deck is drawn: the decks of two seeds are shuffled anew."""

    seed: int
    number: int

    def of(self, count: int) -> int | None:
        """Card `number` of `count`, each equally likely and none twice; None where the deck has no more.

        The shuffle of Fisher and Yates, of which only the cards are kept that have moved.
        """
        if self.number >= count:
            return None
        moved: dict[int, int] = {}
        found = 0
        for turn in range(self.number + 1):
            at = turn + _mixed(self.seed + turn) % (count - turn)
            found = moved.get(at, at)
            moved[at] = moved.get(turn, turn)
        return found


def _mixed(value: int) -> int:
    """64 bits that look random (Steele et al. 2014, splitmix64)."""
    value = (value * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 31)


class Pool:
    """Pictures of one kind in one split that may be drawn as negatives: one of each painting at most."""

    def __init__(self, pictures: Iterable[Facts]) -> None:
        rows = list(pictures)
        self._by_genre = Order((row.genre, row.artist, row.id) for row in rows)
        self._by_artist = Order((row.artist, row.id) for row in rows)
        self._by_approach = Order((row.approach, row.id) for row in rows)

    def draw(self, tier: str, anchor: Facts, draw: Draw, twins: Sequence[str] = ()) -> str | None:
        """The painting whose picture stands in the tier's relation to the anchor's; None where there is none left.

        It is none of `twins`, which show the same as the anchor.
        """
        left_out = {anchor.id, *twins}
        if tier == "same_artist":
            by_hand = self._by_artist.range(anchor.artist) if anchor.artist else NOBODY
            return self._by_artist.pick(draw, by_hand, NOBODY, left_out)
        if tier == "same_approach":
            alike = self._by_approach.range(anchor.approach) if anchor.approach else NOBODY
            return self._by_approach.pick(draw, alike, NOBODY, left_out)
        if tier != "any" and not anchor.genre:
            return None  # what is not known is neither another genre nor the same
        of_genre, everything = self._by_genre.range(anchor.genre), (0, len(self._by_genre.ids))
        among, without = {
            "any": (everything, NOBODY),
            "other_genre": (everything, of_genre),
            "original": (everything, of_genre),
            "same_genre": (of_genre, self._by_genre.range(anchor.genre, anchor.artist)),
        }[tier]
        return self._by_genre.pick(draw, among, without, left_out)


class Candidates:
    """The pools of negatives: one of originals for each split, one of versions for each split, level and variant."""

    def __init__(self, paintings: pa.Table, splits: pa.Table, versions: pa.Table) -> None:
        """`paintings`: id, genre, artist; `splits`: id, split, component; `versions`: id, level, variant, approach.

        A painting that one of the tables lacks is nobody's negative.
        """
        facts = {row["id"]: Facts(row["id"], row["genre"] or "", row["artist"] or "") for row in paintings.to_pylist()}
        placed = [row for row in splits.to_pylist() if row["id"] in facts]
        split_of = {row["id"]: row["split"] for row in placed}
        self._components: dict[str, list[str]] = {}
        members: dict[tuple[str, str | None, int | None], list[Facts]] = {}
        for row in placed:
            self._components.setdefault(row["component"], []).append(row["id"])
            members.setdefault((row["split"], None, None), []).append(facts[row["id"]])
        for row in versions.to_pylist():
            if row["id"] in split_of:
                kind = (split_of[row["id"]], row["level"], row["variant"])
                picture = facts[row["id"]]._replace(approach=known_approach(row["approach"]) or "")
                members.setdefault(kind, []).append(picture)
        self._pools = {kind: Pool(pictures) for kind, pictures in members.items()}

    def twins(self, component: str) -> list[str]:
        """The paintings of a component, which all show the same."""
        return self._components[component]

    def pool(self, split: str, level: str | None, variant: int | None) -> Pool:
        """Versions of one level and variant in a split; originals where the level is None."""
        return self._pools[split, level, variant]


def known_approach(approach: str | None) -> str | None:
    """An approach as `prompts` has it; None for pairs that existed already, where it is not known."""
    return None if approach == GIVEN else approach


def expand_tiers(ids: list[str], config: TripletsConfig) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Every positive meets each tier, num_negatives times: row numbers (B,), and tier and draw (B,)."""
    kinds = [(tier, draw) for tier in config.tiers for draw in range(config.num_negatives)]
    tiers, draws = zip(*kinds, strict=True)
    added = {
        "tier": np.tile(np.array(tiers, object), len(ids)),
        "draw": np.tile(np.array(draws, np.int32), len(ids)),
    }
    return np.repeat(np.arange(len(ids)), len(kinds)), added


class DrawNegatives:
    """Give each positive a negative of its tier, from its own split; the draws of one tier all differ.

    Negatives are of the positive's kind, another painting's version of the same level and variant, or a model learns
    "looks generated" instead of "is alike". The tier `original` is the thesis's: another genre's painting itself. In
    tier `nearest`, draw k is the version that is the (k+1)-th nearest to the painting in the frozen embedding with the
    mean of the training split taken off. What is of the painting's own component is no negative: it shows the same.

    Reads  id, level, variant, tier, draw, split, genre, artist, component, approach (B,).
    Adds   negative_id, negative_level, negative_variant (B,), all None where the tier has nobody, or nobody more;
           approach (B,) of the positive's prompt, None where it is not known.
    """

    version: ClassVar[int] = 3
    determinism: ClassVar[str] = "exact"

    def __init__(
        self,
        config: TripletsConfig,
        seed: int,
        candidates: Candidates,
        neighbours: Callable[[], Neighbours] | None = None,
    ) -> None:
        """`neighbours` loads the embeddings of all splits, here in the worker; tier nearest alone needs it."""
        self._config, self._seed, self._candidates = config, seed, candidates
        self._neighbours = neighbours() if neighbours is not None and "nearest" in config.tiers else None

    def __call__(self, batch: Batch) -> Batch:
        batch = batch | {"approach": np.array([known_approach(name) for name in batch["approach"]], object)}
        ids = np.full(len(batch["id"]), None, object)
        of_originals, near = batch["tier"] == "original", batch["tier"] == "nearest"
        self._draw(batch, ids, np.flatnonzero(~near))
        self._find_nearest(batch, ids, np.flatnonzero(near))
        nobody = of_originals | np.array([negative is None for negative in ids], bool)
        levels, variants = batch["level"].astype(object), batch["variant"].astype(object)
        levels[nobody], variants[nobody] = None, None
        return batch | {"negative_id": ids, "negative_level": levels, "negative_variant": variants}

    def _draw(self, batch: Batch, ids: np.ndarray, rows: np.ndarray) -> None:
        """Set the negative of some rows by their pools."""
        seeds: dict[tuple[Any, ...], int] = {}
        names = ("id", "level", "variant", "tier", "draw", "split", "component", "genre", "artist", "approach")
        for at, *key, number, split, component, genre, artist, approach in zip(
            rows.tolist(), *(batch[name][rows].tolist() for name in names), strict=True
        ):
            painting, level, variant, tier = key
            if tuple(key) not in seeds:
                seeds[tuple(key)] = row_seed(self._seed, "negative", *key)
            kind = (None, None) if tier == "original" else (level, variant)
            anchor = Facts(painting, genre or "", artist or "", approach or "")
            draw, twins = Draw(seeds[tuple(key)], number), self._candidates.twins(component)
            ids[at] = self._candidates.pool(split, *kind).draw(tier, anchor, draw, twins)

    def _find_nearest(self, batch: Batch, ids: np.ndarray, rows: np.ndarray) -> None:
        """Set the negative of some rows by the embeddings, those of one kind at a time."""
        kinds: dict[Kind, list[int]] = {}
        for at in rows.tolist():
            kinds.setdefault((batch["split"][at], batch["level"][at], int(batch["variant"][at])), []).append(at)
        for kind, members in kinds.items():
            assert self._neighbours is not None, "tier nearest needs the embeddings"
            anchors = list(dict.fromkeys(batch["id"][members].tolist()))
            nearest = self._neighbours.nearest(kind, anchors, self._config.num_negatives)
            for at in members:
                found = nearest[batch["id"][at]]
                ids[at] = found[batch["draw"][at]] if batch["draw"][at] < len(found) else None
