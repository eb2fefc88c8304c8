"""Groups, splits and negatives: what may not be cut in two, who is trained on, and what an anchor is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from artsim.config import SplitConfig, TripletsConfig
from artsim.duplicates import join
from artsim.schemas import Batch, row_seed
from artsim.tables import TableError


def group_of(painting: str, artist: str | None, config: SplitConfig) -> str:
    """What a painting may not be separated from: its artist's work; itself where the artist is not known."""
    return artist if config.group == "artist" and artist else painting


class Place(NamedTuple):
    """Where a group is: what it was joined to, and the split of that."""

    group: str
    split: str


def join_groups(paintings: pa.Table, config: SplitConfig) -> dict[str, str]:
    """What each group belongs to: groups that share a component are one, which has the name of the first of them.

    `paintings` has the columns id, artist and component. Artists come before paintings by nobody known.
    """
    ids, artists, components = (paintings[name].to_pylist() for name in ("id", "artist", "component"))
    group = [group_of(painting, artist, config) for painting, artist in zip(ids, artists, strict=True)]
    known = set(artists)
    names = sorted(set(group), key=lambda name: (name not in known, name))
    number = {name: at for at, name in enumerate(names)}
    first: dict[str, int] = {}
    rows = np.array([number[name] for name in group], np.int64)
    others = [first.setdefault(component, number[name]) for component, name in zip(components, group, strict=True)]
    joined = join(np.arange(len(names)), rows, np.array(others, np.int64))
    return {name: names[at] for name, at in zip(names, joined, strict=True)}


def assign_groups(paintings: pa.Table, config: SplitConfig, seed: int) -> dict[str, Place]:
    """The place of each group: in seeded order, each goes where most paintings are still wanted.

    `paintings` has the columns id, artist and component; groups that share a component go together. A few groups may
    leave a split empty: see check_splits.
    """
    joined = join_groups(paintings, config)
    pairs = zip(paintings["id"].to_pylist(), paintings["artist"].to_pylist(), strict=True)
    sizes = Counter(joined[group_of(painting, artist, config)] for painting, artist in pairs)
    wanted = {split: share * len(paintings) for split, share in config.shares.items()}
    assigned = {}
    for group in sorted(sizes, key=lambda group: (row_seed(seed, "split", group), group)):
        split = max(wanted, key=lambda split: wanted[split])
        assigned[group] = split
        wanted[split] -= sizes[group]
    return {group: Place(name, assigned[name]) for group, name in joined.items()}


def check_splits(places: dict[str, Place], config: SplitConfig) -> None:
    """Raise TableError where the groups leave a split empty."""
    if empty := set(config.shares) - {place.split for place in places.values()}:
        num_groups = len({place.group for place in places.values()})
        raise TableError(
            f"{num_groups} groups by {config.group} leave {', '.join(sorted(empty))} empty: add paintings by other "
            "artists, or use split.group=painting"
        )


class AssignSplit:
    """Say which split a painting belongs to.

    Reads  id (B,), artist (B,).
    Adds   group (B,), what may not be cut in two; split (B,): train, val or test.
    """

    version: ClassVar[int] = 2
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: SplitConfig, places: dict[str, Place]) -> None:
        self._config, self._places = config, places

    def __call__(self, batch: Batch) -> Batch:
        pairs = zip(batch["id"], batch["artist"], strict=True)
        places = [self._places[group_of(painting, artist, self._config)] for painting, artist in pairs]
        groups, splits = [place.group for place in places], [place.split for place in places]
        return batch | {"group": np.array(groups, object), "split": np.array(splits, object)}


class Facts(NamedTuple):
    """What a painting is known by when negatives are drawn; an unknown genre or artist is empty."""

    id: str
    genre: str
    artist: str


class Pool:
    """Pictures that may be drawn as negatives, in an order in which what must be left out lies side by side."""

    def __init__(self, paintings: Iterable[Facts]) -> None:
        by_genre = sorted((genre, artist, painting) for painting, genre, artist in paintings)
        by_artist = sorted((artist, painting) for _, artist, painting in by_genre)
        self._by_genre = np.array([painting for _, _, painting in by_genre], object)
        self._by_artist = np.array([painting for _, painting in by_artist], object)
        self._at = {row: at for at, row in enumerate(by_genre)}
        self._genres = _ranges(genre for genre, _, _ in by_genre)
        self._hands = _ranges((genre, artist) for genre, artist, _ in by_genre)
        self._artists = _ranges(artist for artist, _ in by_artist)
        self._at_artist = {row: at for at, row in enumerate(by_artist)}

    def draw(self, tier: str, painting: Facts, seed: int, twins: Sequence[Facts] = ()) -> str | None:
        """Another painting that stands in the tier's relation to this one; None where there is none.

        It is none of `twins`, which show the same as this one.
        """
        same = {painting, *twins}
        if tier == "same_artist":
            by_hand = self._artists.get(painting.artist, (0, 0)) if painting.artist else (0, 0)
            left_out = _points(self._at_artist, ((row.artist, row.id) for row in same))
            return _pick(self._by_artist, seed, by_hand, left_out)
        of_genre = self._genres.get(painting.genre, (0, 0))
        everything = (0, len(self._by_genre))
        among, without = {
            "any": (everything, (0, 0)),
            "other_genre": (everything, of_genre),
            "original": (everything, of_genre),
            "same_genre": (of_genre, self._hands.get((painting.genre, painting.artist), (0, 0))),
        }[tier]
        left_out = _points(self._at, ((row.genre, row.artist, row.id) for row in same))
        return _pick(self._by_genre, seed, among, [without, *left_out])


def _ranges(values: Iterable[object]) -> dict[object, tuple[int, int]]:
    ranges: dict[object, tuple[int, int]] = {}
    for at, value in enumerate(values):
        ranges[value] = (ranges.get(value, (at, at))[0], at + 1)
    return ranges


def _points(at: dict[Any, int], rows: Iterable[Any]) -> list[tuple[int, int]]:
    """The ranges of one row each that some rows are, as far as they are there."""
    return [(at[row], at[row] + 1) for row in rows if row in at]


def _pick(rows: np.ndarray, seed: int, among: tuple[int, int], without: Iterable[tuple[int, int]]) -> str | None:
    """One of the rows of a range, of which those in other ranges are left out, each equally likely."""
    low, high = among
    runs, start = [], low
    for skip_low, skip_high in sorted(without):
        runs.append((start, min(skip_low, high)))
        start = max(start, skip_high)
    runs = [(begin, end) for begin, end in [*runs, (start, high)] if begin < end]
    count = sum(end - begin for begin, end in runs)
    if not count:
        return None
    at = seed % count
    for begin, end in runs:
        if at < end - begin:
            return rows[begin + at]
        at -= end - begin
    raise AssertionError("the runs hold as many rows as were counted")


class Candidates:
    """The pools of negatives: one of originals for each split, one of versions for each split, level and variant."""

    def __init__(self, paintings: pa.Table, splits: pa.Table, versions: pa.Table) -> None:
        """`paintings`: id, genre, artist, component; `splits`: id, split; `versions`: id, level, variant of each made.

        A painting that one of the tables lacks is nobody's negative.
        """
        rows = paintings.to_pylist()
        facts = {row["id"]: Facts(row["id"], row["genre"] or "", row["artist"] or "") for row in rows}
        self._components: dict[str, list[Facts]] = {}
        for row in rows:
            self._components.setdefault(row["component"], []).append(facts[row["id"]])
        pairs = zip(splits["id"].to_pylist(), splits["split"].to_pylist(), strict=True)
        split_of = {painting: split for painting, split in pairs if painting in facts}
        members: dict[tuple[str, str | None, int | None], list[Facts]] = {}
        for painting, split in split_of.items():
            members.setdefault((split, None, None), []).append(facts[painting])
        for row in versions.to_pylist():
            if row["id"] in split_of:
                kind = (split_of[row["id"]], row["level"], row["variant"])
                members.setdefault(kind, []).append(facts[row["id"]])
        self._pools = {kind: Pool(paintings) for kind, paintings in members.items()}

    def twins(self, component: str) -> list[Facts]:
        """The paintings of a component, which all show the same."""
        return self._components[component]

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
    "looks generated" instead of "is alike". The tier `original` is the thesis's: another genre's painting itself. What
    is of the painting's own component is no negative: it shows the same.

    Reads  id, level, variant, tier, draw, split, genre, artist, component (B,).
    Adds   negative_id, negative_level, negative_variant (B,), all None where the tier has nobody.
    """

    version: ClassVar[int] = 2
    determinism: ClassVar[str] = "exact"

    def __init__(self, config: TripletsConfig, seed: int, candidates: Candidates) -> None:
        self._config, self._seed, self._candidates = config, seed, candidates

    def __call__(self, batch: Batch) -> Batch:
        names = ("id", "level", "variant", "tier", "draw", "split", "genre", "artist", "component")
        rows = zip(*(batch[name] for name in names), strict=True)
        drawn = [self._draw(dict(zip(names, row, strict=True))) for row in rows]
        added = ("negative_id", "negative_level", "negative_variant")
        columns = zip(*drawn, strict=True)
        return batch | {name: np.array(column, object) for name, column in zip(added, columns, strict=True)}

    def _draw(self, row: dict[str, Any]) -> tuple[str | None, str | None, int | None]:
        kind = (None, None) if row["tier"] == "original" else (row["level"], int(row["variant"]))
        seed = row_seed(self._seed, "negative", *(row[name] for name in ("id", "level", "variant", "tier", "draw")))
        pool = self._candidates.pool(row["split"], *kind)
        painting = Facts(row["id"], row["genre"] or "", row["artist"] or "")
        negative = pool.draw(row["tier"], painting, seed, self._candidates.twins(row["component"]))
        return (negative, *kind) if negative else (None, None, None)
