"""Groups, splits and negatives: what may not be cut in two, who is trained on, and what an anchor is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from artsim.config import SplitConfig, TripletsConfig
from artsim.schemas import Batch, row_seed
from artsim.tables import TableError


def group_of(painting: str, artist: str | None, config: SplitConfig) -> str:
    """What a painting may not be separated from: its artist's work; itself where the artist is not known."""
    return artist if config.group == "artist" and artist else painting


def assign_groups(artworks: pa.Table, config: SplitConfig, seed: int) -> dict[str, str]:
    """The split of each group: in seeded order, each goes where most paintings are still wanted.

    `artworks` has the columns id and artist. A few groups may leave a split empty: see check_splits.
    """
    pairs = zip(artworks["id"].to_pylist(), artworks["artist"].to_pylist(), strict=True)
    sizes = Counter(group_of(painting, artist, config) for painting, artist in pairs)
    wanted = {split: share * len(artworks) for split, share in config.shares.items()}
    assigned = {}
    for group in sorted(sizes, key=lambda group: (row_seed(seed, "split", group), group)):
        split = max(wanted, key=lambda split: wanted[split])
        assigned[group] = split
        wanted[split] -= sizes[group]
    return assigned


def check_splits(assigned: dict[str, str], config: SplitConfig) -> None:
    """Raise TableError where the groups leave a split empty."""
    if empty := set(config.shares) - set(assigned.values()):
        raise TableError(
            f"{len(assigned)} groups by {config.group} leave {', '.join(sorted(empty))} empty: add paintings by other "
            "artists, or use split.group=painting"
        )


class AssignSplit:
    """Say which split a painting belongs to.

    Reads  id (B,), artist (B,).
    Adds   group (B,), split (B,): train, val or test.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: SplitConfig, splits: dict[str, str]) -> None:
        self._config, self._splits = config, splits

    def __call__(self, batch: Batch) -> Batch:
        groups = [
            group_of(painting, artist, self._config)
            for painting, artist in zip(batch["id"], batch["artist"], strict=True)
        ]
        splits = [self._splits[group] for group in groups]
        return batch | {"group": np.array(groups, object), "split": np.array(splits, object)}


class Pool:
    """Pictures that may be drawn as negatives, in an order in which what must be left out lies side by side."""

    def __init__(self, paintings: Iterable[tuple[str, str, str]]) -> None:
        """`paintings`: (id, genre, artist) of each."""
        by_genre = sorted((genre, artist, painting) for painting, genre, artist in paintings)
        by_artist = sorted((artist, painting) for _, artist, painting in by_genre)
        self._by_genre = np.array([painting for _, _, painting in by_genre], object)
        self._by_artist = np.array([painting for _, painting in by_artist], object)
        self._at = {row: at for at, row in enumerate(by_genre)}
        self._genres = _ranges(genre for genre, _, _ in by_genre)
        self._hands = _ranges((genre, artist) for genre, artist, _ in by_genre)
        self._artists = _ranges(artist for artist, _ in by_artist)
        self._at_artist = {row: at for at, row in enumerate(by_artist)}

    def draw(self, tier: str, painting: str, genre: str, artist: str, seed: int) -> str | None:
        """Another painting that stands in the tier's relation to this one; None where there is none."""
        everything = (0, len(self._by_genre))
        of_genre = self._genres.get(genre, (0, 0))
        if tier == "any":
            at = self._at.get((genre, artist, painting))
            return _pick(self._by_genre, seed, everything, (0, 0) if at is None else (at, at + 1))
        if tier in ("other_genre", "original"):
            return _pick(self._by_genre, seed, everything, of_genre)
        if tier == "same_genre":
            return _pick(self._by_genre, seed, of_genre, self._hands.get((genre, artist), (0, 0)))
        assert tier == "same_artist", tier
        at = self._at_artist.get((artist, painting))
        by_hand = self._artists.get(artist, (0, 0)) if artist else (0, 0)
        return _pick(self._by_artist, seed, by_hand, (0, 0) if at is None else (at, at + 1))


def _ranges(values: Iterable[object]) -> dict[object, tuple[int, int]]:
    ranges: dict[object, tuple[int, int]] = {}
    for at, value in enumerate(values):
        ranges[value] = (ranges.get(value, (at, at))[0], at + 1)
    return ranges


def _pick(rows: np.ndarray, seed: int, among: tuple[int, int], without: tuple[int, int]) -> str | None:
    (low, high), (skip_low, skip_high) = among, without
    count = (high - low) - (skip_high - skip_low)
    if count <= 0:
        return None
    at = low + seed % count
    return rows[at if at < skip_low or skip_low == skip_high else at + skip_high - skip_low]


class Candidates:
    """The pools of negatives: one of originals for each split, one of versions for each split, level and variant."""

    def __init__(self, artworks: pa.Table, splits: pa.Table, versions: pa.Table) -> None:
        """`artworks`: id, genre, artist; `splits`: id, split; `versions`: id, level, variant of what was generated.

        A painting that one of the tables lacks is nobody's negative.
        """
        facts = {row["id"]: (row["id"], row["genre"] or "", row["artist"] or "") for row in artworks.to_pylist()}
        pairs = zip(splits["id"].to_pylist(), splits["split"].to_pylist(), strict=True)
        split_of = {painting: split for painting, split in pairs if painting in facts}
        members: dict[tuple[str, str | None, int | None], list[tuple[str, str, str]]] = {}
        for painting, split in split_of.items():
            members.setdefault((split, None, None), []).append(facts[painting])
        for row in versions.to_pylist():
            if row["id"] in split_of:
                kind = (split_of[row["id"]], row["level"], row["variant"])
                members.setdefault(kind, []).append(facts[row["id"]])
        self._pools = {kind: Pool(paintings) for kind, paintings in members.items()}

    def pool(self, split: str, level: str | None, variant: int | None) -> Pool:
        """Versions of one level and variant in a split; originals where the level is None."""
        return self._pools[split, level, variant]


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
    """Give each positive a negative of its tier, from its own split.

    Negatives are of the positive's kind, another painting's version of the same level and variant, or a model learns
    "looks generated" instead of "is alike". The tier `original` is the thesis's: another genre's painting itself.

    Reads  id, level, variant, tier, draw, split, genre, artist (B,).
    Adds   negative_id, negative_level, negative_variant (B,), all None where the tier has nobody.
    """

    version: ClassVar[int] = 1
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: TripletsConfig, seed: int, candidates: Candidates) -> None:
        self._config, self._seed, self._candidates = config, seed, candidates

    def __call__(self, batch: Batch) -> Batch:
        names = ("id", "level", "variant", "tier", "draw", "split", "genre", "artist")
        rows = zip(*(batch[name] for name in names), strict=True)
        drawn = [self._draw(dict(zip(names, row, strict=True))) for row in rows]
        added = ("negative_id", "negative_level", "negative_variant")
        columns = zip(*drawn, strict=True)
        return batch | {name: np.array(column, object) for name, column in zip(added, columns, strict=True)}

    def _draw(self, row: dict[str, Any]) -> tuple[str | None, str | None, int | None]:
        kind = (None, None) if row["tier"] == "original" else (row["level"], int(row["variant"]))
        seed = row_seed(self._seed, "negative", *(row[name] for name in ("id", "level", "variant", "tier", "draw")))
        pool = self._candidates.pool(row["split"], *kind)
        negative = pool.draw(row["tier"], row["id"], row["genre"] or "", row["artist"] or "", seed)
        return (negative, *kind) if negative else (None, None, None)
