"""Groups and splits: what may not be cut in two, and which of it is trained on."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from math import exp
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from artsim.config import SplitConfig
from artsim.duplicates import join
from artsim.schemas import Batch, row_seed
from artsim.tables import TableError

_ALL = "\0all"
"""Not the name of a genre."""
SHARPNESS = {"component": 50.0, "artist": 50.0, "genre": 10.0}
"""How much the split that wants a group most is preferred: at 0 all are dealt by share alone, and at infinity the seed
tells nothing. On a set like WikiArt's, 50 brings the part of a genre that is in test within 0.3% on average, and five
seeds hold five to seven of the twenty largest artists out of train, never the same. With the sizes of its 27 genres, 10
holds out other large genres by each seed, and test has 14 to 16% of the paintings."""


class Place(NamedTuple):
    """Where a painting is: what it may not be separated from, the split of that, and what shows the same."""

    group: str
    split: str
    component: str


def groups_of(paintings: pa.Table, config: SplitConfig) -> list[str]:
    """The group of each painting, by config.group; `paintings` has the columns id, genre, artist and component.

    component  What shows the same.
    artist     An artist's work; artists who share a component are one group, named by the first of them.
    genre      A genre. Were genres joined by their components, few twins would chain all of WikiArt's 27 into one: a
               component goes whole to the genre of its first painting.

    Paintings whose artist or genre is not known are grouped by component.
    """
    components: list[str] = paintings["component"].to_pylist()
    if config.group == "component":
        return components
    if config.group == "artist":
        return _joined([artist or "" for artist in paintings["artist"].to_pylist()], components)
    first: dict[str, tuple[str, str]] = {}
    ids, genres = paintings["id"].to_pylist(), paintings["genre"].to_pylist()
    for painting, genre, component in zip(ids, genres, components, strict=True):
        first[component] = min(first.get(component, (painting, genre or "")), (painting, genre or ""))
    return [first[component][1] or component for component in components]


def _joined(artists: list[str], components: list[str]) -> list[str]:
    """The first name of each painting's group: of the artists that its components lead to, else of the components."""
    known = sorted(set(artists) - {""})
    names = np.array([*known, *sorted(set(components))], object)
    by_artist = {name: at for at, name in enumerate(known)}
    by_component = {name: at for at, name in enumerate(names.tolist()[len(known) :], len(known))}
    a = np.array([by_component[name] for name in components], np.int64)
    b = np.array([by_artist.get(name, at) for name, at in zip(artists, a.tolist(), strict=True)], np.int64)
    labels = join(np.arange(len(names)), a, b)
    found: list[str] = names[labels[a]].tolist()
    return found


def assign_groups(paintings: pa.Table, config: SplitConfig, seed: int) -> dict[str, Place]:
    """The place of each painting by id; `paintings` has the columns id, genre, artist and component.

    Groups are dealt out so that each split has its share of the paintings and, unless genres are held out, of every
    genre, as far as whole groups allow. Nothing depends on the order of the paintings.
    """
    groups = groups_of(paintings, config)
    genres = [None] * len(groups) if config.group == "genre" else paintings["genre"].to_pylist()
    # Of a rare genre no split's part is a whole painting: all of these together are one.
    sizes, least = Counter(genres), 1 / min(config.shares.values())
    strata: dict[str, Counter[str]] = {}
    for group, genre in zip(groups, genres, strict=True):
        strata.setdefault(group, Counter())[genre if genre and sizes[genre] >= least else ""] += 1
    split_of = _deal(strata, config, row_seed(seed, "split", config.seed))
    ids, components = paintings["id"].to_pylist(), paintings["component"].to_pylist()
    places = zip(ids, groups, components, strict=True)
    return {painting: Place(group, split_of[group], component) for painting, group, component in places}


def _deal(strata: dict[str, Counter[str]], config: SplitConfig, seed: int) -> dict[str, str]:
    """The split of each group, of which `strata` says how many paintings of each genre it has.

    Iterative stratification (Sechidis et al. 2011, "On the stratification of multi-label data", section 3.2), for
    groups: what is hardest to place comes first, here the largest, and goes where it is wanted most. How much a split
    wants a painting is the share of its part of that genre, and of all paintings, that is missing once half of the
    group is there: so the squared error over genres falls most. A split is drawn with odds of its share times
    exp(sharpness * wanted / share of the paintings that are left): the largest groups by chance, or all seeds would
    send them the same way, and the last where they are wanted.
    """
    shares, sharpness = config.shares, SHARPNESS[config.group]
    sizes = {group: counts.total() for group, counts in strata.items()}
    in_order = sorted(sizes, key=lambda group: (-sizes[group], row_seed(seed, "turn", group), group))
    genres = Counter({_ALL: sum(sizes.values())})
    for of_group in strata.values():
        genres.update(of_group)
    whole = {(split, genre): share * count for split, share in shares.items() for genre, count in genres.items()}
    missing, found, empty, num_left = dict(whole), dict[str, str](), set(shares), genres[_ALL]
    for left, group in enumerate(in_order):
        size, counts = sizes[group], [(_ALL, sizes[group]), *strata[group].items()]
        # Where as many groups are left as splits are empty, each of these gets one.
        open_to = [split for split in shares if len(sizes) - left > len(empty) or split in empty]
        wanted = {s: sum(c * (missing[s, g] - c / 2) / whole[s, g] for g, c in counts) / size for s in open_to}
        most = max(wanted.values())
        sharper = sharpness * genres[_ALL] / num_left
        odds = {split: shares[split] * exp(sharper * (wanted[split] - most)) for split in open_to}
        ends = list(accumulate(odds.values()))
        draw = row_seed(seed, "draw", group) / 2**63 * ends[-1]
        found[group] = split = list(odds)[min(bisect_right(ends, draw), len(ends) - 1)]
        empty.discard(split)
        num_left -= size
        for genre, count in counts:
            missing[split, genre] -= count
    return found


def check_splits(places: dict[str, Place], config: SplitConfig) -> None:
    """Raise TableError where the groups leave a split empty."""
    if empty := set(config.shares) - {place.split for place in places.values()}:
        num_groups = len({place.group for place in places.values()})
        raise TableError(
            f"{num_groups} groups by {config.group}, where near-duplicates join theirs, leave "
            f"{', '.join(sorted(empty))} empty: add paintings of other groups, or use split.group=component"
        )


class AssignSplit:
    """Say which split a painting belongs to.

    Reads  id (B,).
    Adds   group (B,), what may not be cut in two; split (B,): train, val or test; component (B,), what shows the same.
    """

    version: ClassVar[int] = 3
    determinism: ClassVar[str] = "exact"

    def __init__(self, places: dict[str, Place]) -> None:
        self._places = places

    def __call__(self, batch: Batch) -> Batch:
        columns = zip(*(self._places[painting] for painting in batch["id"]), strict=True)
        return batch | {name: np.array(column, object) for name, column in zip(Place._fields, columns, strict=True)}
