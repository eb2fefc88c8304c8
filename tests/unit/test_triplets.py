"""Negatives against a definition of each tier by brute force."""

import random
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from artsim.config import LEVELS, TIERS, SplitConfig, TripletsConfig
from artsim.neighbours import Neighbours, Pictures
from artsim.prompts import GIVEN, approach_of
from artsim.triplets import Candidates, Draw, DrawNegatives, Facts, Pool, expand_tiers
from tests.unit.collection import artworks, collection, splits_of, twins_of

Drawn = tuple[str | None, str | None, int | None]


class World:
    """A collection with splits, versions, of which some were never made, and embeddings, of which some are missing."""

    def __init__(self, num_paintings: int = 120, num_artists: int = 25, num_variants: int = 2) -> None:
        self.paintings = collection(num_paintings, num_artists)
        self.genre = {row_id: genre for row_id, genre, _ in self.paintings}
        self.artist = {row_id: artist or None for row_id, _, artist in self.paintings}
        self.component = twins_of(self.paintings)
        found = splits_of(self.paintings, SplitConfig(group="component"), twins=self.component)
        self.split = {row_id: split for row_id, (_, split) in found.items()}
        choose = random.Random(1)
        kinds = [(level, variant) for level in LEVELS for variant in range(num_variants)]
        self.versions = [(row_id, *kind) for row_id in self.genre for kind in kinds if choose.random() < 0.8]
        self.approach = {row: approach_of(0, *row) if choose.random() < 0.9 else GIVEN for row in self.versions}
        draw = np.random.default_rng(2).normal(3, 1, (2, len(self.versions), 6)).astype(np.float32)
        self.original = dict(zip(self.genre, draw[0], strict=False))
        self.version = dict(zip(self.versions, draw[1], strict=True))
        del self.original["g/0003"], self.version[self.versions[5]]

    def candidates(self) -> Candidates:
        ids, levels, variants = map(list, zip(*self.versions, strict=True))
        approaches = [self.approach.get(row, "light") for row in self.versions]
        columns = {"id": ids, "level": levels, "variant": pa.array(variants, pa.int32()), "approach": approaches}
        return Candidates(artworks(self.paintings), self.splits(), pa.table(columns))

    def splits(self) -> pa.Table:
        components = [self.component.get(row_id, row_id) for row_id in self.split]
        return pa.table({"id": list(self.split), "split": list(self.split.values()), "component": components})

    def neighbours(self) -> Neighbours:
        """In chunks of any size, as they come from tables."""
        ids, levels, variants = map(list, zip(*self.version, strict=True))
        vectors = [np.stack(list(found.values())) for found in (self.original, self.version)]
        paintings = Pictures(pa.table({"id": list(self.original)}), np.array_split(vectors[0], 4))
        keys = pa.table({"id": ids, "level": levels, "variant": pa.array(variants, pa.int32())})
        return Neighbours(self.splits(), paintings, Pictures(keys, np.array_split(vectors[1], 7)))

    def stage(self, config: TripletsConfig, seed: int = 0) -> DrawNegatives:
        return DrawNegatives(config, seed, self.candidates(), self.neighbours)

    def allowed(self, tier: str, anchor: str, level: str, variant: int) -> set[Drawn]:
        """All negatives that the definition of a tier allows."""
        genre, artist, own = self.genre, self.artist, self.approach[anchor, level, variant]
        related: dict[str, Any] = {
            "any": lambda other: True,
            "other_genre": lambda other: genre[other] != genre[anchor],
            "same_genre": lambda other: genre[other] == genre[anchor] and artist[other] != artist[anchor],
            "same_artist": lambda other: artist[other] == artist[anchor] is not None,
            "same_approach": lambda other: self.approach[other, level, variant] == own != GIVEN,
            "nearest": lambda other: anchor in self.original and (other, level, variant) in self.version,
            "original": lambda other: genre[other] != genre[anchor],
        }
        kinds = [(row_id, None, None) for row_id in genre] if tier == "original" else self.versions
        return {
            (other, *kind)
            for other, *kind in kinds
            if self.component[other] != self.component[anchor] and self.split[other] == self.split[anchor]
            if (tier == "original" or kind == [level, variant]) and related[tier](other)
        }

    def nearest(self, anchor: str, level: str, variant: int) -> list[Drawn]:
        """All versions that are negatives, nearest to the painting first, in float64."""
        trained = [v for row_id, v in self.original.items() if self.split[row_id] == "train"]
        trained += [v for (row_id, *_), v in self.version.items() if self.split[row_id] == "train"]
        mean = np.mean(np.array(trained, np.float64), 0)

        def similarity(version: Drawn) -> float:
            a, b = self.original[anchor] - mean, self.version[version] - mean  # type: ignore[index]
            return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

        return sorted(self.allowed("nearest", anchor, level, variant), key=similarity, reverse=True)

    def batch(self, config: TripletsConfig) -> dict[str, np.ndarray]:
        index, added = expand_tiers([row_id for row_id, _, _ in self.versions], config)
        ids, levels, variants = (np.array(column, object)[index] for column in zip(*self.versions, strict=True))
        facts = {name: np.array([table[row_id] for row_id in ids], object) for name, table in self._facts()}
        approaches = np.array([self.approach[self.versions[at]] for at in index], object)
        key = {"id": ids, "level": levels, "variant": variants.astype(np.int32), "approach": approaches}
        return key | added | facts

    def _facts(self) -> list[tuple[str, dict[str, Any]]]:
        return [
            ("split", self.split),
            ("genre", self.genre),
            ("artist", {row_id: a for row_id, _, a in self.paintings}),
            ("component", self.component),
        ]


def drawn(done: dict[str, np.ndarray]) -> list[Drawn]:
    names = ("negative_id", "negative_level", "negative_variant")
    return list(zip(*(done[name].tolist() for name in names), strict=True))


def by_positive(batch: dict[str, np.ndarray], found: list[Drawn]) -> dict[tuple[Any, ...], list[Drawn]]:
    """The negatives of each tier and positive, by draw."""
    grouped = defaultdict(list)
    keys = zip(*(batch[name].tolist() for name in ("tier", "id", "level", "variant")), strict=True)
    for key, negative in zip(keys, found, strict=True):
        grouped[key].append(negative)
    return grouped


def test_every_negative_fits_its_tier_differs_and_is_none_only_where_nobody_is_left() -> None:
    world, config = World(), TripletsConfig(num_negatives=4)
    batch = world.batch(config)
    for values in batch.values():
        values.setflags(write=False)
    done = world.stage(config)(batch)
    short: Counter[str] = Counter()
    for (tier, *positive), negatives in by_positive(batch, drawn(done)).items():
        allowed = world.allowed(tier, *positive)
        there = [negative for negative in negatives if negative[0] is not None]
        assert set(there) <= allowed, (tier, positive)
        assert len(set(there)) == len(there) == min(4, len(allowed))
        assert negatives == [*there, *[(None, None, None)] * (4 - len(there))]
        short[tier] += len(there) < 4
    assert short["same_artist"] > 20
    assert short["same_approach"] > 20
    assert short["any"] == 0
    own = [None if name == GIVEN else name for name in batch["approach"].tolist()]
    assert done["approach"].tolist() == own
    assert None in own


def test_draws_of_tier_nearest_are_the_nearest_in_order() -> None:
    world, config = World(), TripletsConfig(tiers=("nearest",), num_negatives=6)
    batch = world.batch(config)
    done = by_positive(batch, drawn(world.stage(config)(batch)))
    assert len(done) == len(world.versions)
    for (_, *positive), negatives in done.items():
        nearest = world.nearest(*positive) if positive[0] in world.original else []
        assert [negative for negative in negatives if negative[0] is not None] == nearest[:6]


def test_nearest_is_exact_for_more_anchors_than_are_looked_at_together() -> None:
    num, width = 700, 16
    vectors = np.random.default_rng(0).normal(size=(2, num, width)).astype(np.float32)
    ids = [f"{number:03d}" for number in range(num)]
    splits = pa.table({"id": ids, "split": ["train"] * num, "component": ids})
    versions = pa.table({"id": ids, "level": ["radical"] * num, "variant": pa.array([0] * num, pa.int32())})
    found = Neighbours(splits, Pictures(pa.table({"id": ids}), [vectors[0]]), Pictures(versions, [vectors[1]]))
    nearest = found.nearest(("train", "radical", 0), ids, 5)
    centred = vectors.astype(np.float64) - vectors.reshape(-1, width).mean(0, dtype=np.float64)
    unit = centred / np.linalg.norm(centred, axis=2, keepdims=True)
    similarities = unit[0] @ unit[1].T - 9 * np.eye(num)
    assert nearest == {ids[a]: [ids[b] for b in np.argsort(-similarities[a])[:5]] for a in range(num)}
    assert found.nearest(("val", "radical", 0), ids[:1], 5) == {"000": []}
    assert found.nearest(("train", "radical", 0), ["unknown"], 5) == {"unknown": []}


@pytest.mark.parametrize("number", [0, 2])
def test_every_candidate_is_drawn_equally_often(number: int) -> None:
    world, config = World(60, 6, 1), TripletsConfig(num_negatives=3)
    candidates = world.candidates()
    anchor = next(row for row in world.versions if world.artist[row[0]] and len(world.allowed("same_artist", *row)) > 3)
    facts = Facts(anchor[0], world.genre[anchor[0]] or "", world.artist[anchor[0]] or "", world.approach[anchor])
    twins = candidates.twins(world.component[anchor[0]])
    for tier in sorted(set(config.tiers) - {"nearest"}):
        kind = (None, None) if tier == "original" else anchor[1:]
        pool = candidates.pool(world.split[anchor[0]], *kind)
        allowed = world.allowed(tier, *anchor)
        if len(allowed) <= number:
            continue
        counts = Counter((pool.draw(tier, facts, Draw(seed * 7, number), twins), *kind) for seed in range(1000))
        assert counts.keys() == allowed, tier
        mean = 1000 / len(allowed)
        chi_square = sum((count - mean) ** 2 / mean for count in counts.values())
        assert chi_square < len(allowed) + 4 * (2 * len(allowed)) ** 0.5 + 6, tier


def test_a_deck_is_dealt_out_once_in_every_order() -> None:
    orders = Counter(tuple(Draw(seed, number).of(4) for number in range(5)) for seed in range(4800))
    assert all(sorted(order[:4], key=str) == [0, 1, 2, 3] and order[4] is None for order in orders)
    assert len(orders) == 24
    assert sum((count - 200) ** 2 / 200 for count in orders.values()) < 60  # 99.99th percentile of 23 degrees
    assert Draw(0, 0).of(0) is None


def test_negatives_depend_on_seed_and_row_alone() -> None:
    world, config = World(), TripletsConfig(num_negatives=2)
    batch = world.batch(config)
    whole = drawn(world.stage(config, 3)(batch))
    world.paintings.reverse()
    world.versions.reverse()
    stage = world.stage(config, 3)
    for row in range(0, len(whole), 97):
        assert drawn(stage({name: values[row : row + 1] for name, values in batch.items()})) == [whole[row]]
    assert drawn(world.stage(config, 4)(batch)) != whole


def test_existing_pairs_have_no_approach_and_every_other_tier() -> None:
    world, config = World(), TripletsConfig(num_negatives=1)
    world.approach = dict.fromkeys(world.approach, GIVEN)
    batch = world.batch(config)
    done = world.stage(config)(batch)
    assert set(done["approach"].tolist()) == {None}
    there = Counter(tier for tier, negative in zip(batch["tier"], drawn(done), strict=True) if negative[0])
    assert set(TIERS) - there.keys() == {"same_approach"}


def test_paintings_that_a_table_lacks_are_nobodys_negative() -> None:
    world, config = World(), TripletsConfig()
    batch, stage = world.batch(config), world.stage(config)
    world.paintings.append(("g/unsplit", "genre0", "artist0"))
    world.versions += [("g/unsplit", "radical", 0), ("g/unknown", "radical", 0)]
    world.split["g/gone"] = "train"
    more = world.stage(config)
    assert drawn(more(batch)) == drawn(stage(batch))


def test_a_pool_serves_paintings_that_it_does_not_hold() -> None:
    pool = Pool([Facts("a", "g", "x", "light"), Facts("b", "h", "y", "palette")])
    draws = [Draw(seed, 0) for seed in range(20)]
    assert {pool.draw("any", Facts("c", "g", "x"), draw) for draw in draws} == {"a", "b"}
    assert {pool.draw("same_artist", Facts("c", "g", "x"), draw) for draw in draws} == {"a"}
    assert {pool.draw("same_approach", Facts("c", "g", "x", "palette"), draw) for draw in draws} == {"b"}
    assert {pool.draw("other_genre", Facts("c", "new", "z"), draw) for draw in draws} == {"a", "b"}
    assert pool.draw("same_genre", Facts("c", "new", "z"), draws[0]) is None
    assert pool.draw("same_approach", Facts("c", "g", "x"), draws[0]) is None
    assert Pool([]).draw("any", Facts("c", "g", "x"), draws[0]) is None


def test_what_shows_the_same_is_no_negative_whoever_painted_it() -> None:
    anchor = Facts("a", "g", "x", "light")
    same = [anchor, Facts("b", "g", "y", "light"), Facts("c", "h", "x", "light")]
    others = [Facts("d", "g", "y", "light"), Facts("e", "h", "x", "palette"), Facts("f", "h", "y", "palette")]
    pool, twins, draws = Pool([*same, *others]), ["a", "b", "c", "not there"], [Draw(seed, 0) for seed in range(50)]
    tiers = set(TIERS) - {"nearest"}
    found = {tier: {pool.draw(tier, anchor, draw, twins) for draw in draws} for tier in tiers}
    assert found == {
        "any": {"d", "e", "f"},
        "other_genre": {"e", "f"},
        "original": {"e", "f"},
        "same_genre": {"d"},
        "same_artist": {"e"},
        "same_approach": {"d"},
    }
    assert pool.draw("same_artist", anchor, Draw(0, 0), [*twins, "e"]) is None


def test_each_positive_meets_each_tier_so_many_times() -> None:
    config = TripletsConfig(tiers=("any", "original"), num_negatives=3)
    index, added = expand_tiers(["a", "b"], config)
    rows = set(zip(index.tolist(), added["tier"].tolist(), added["draw"].tolist(), strict=True))
    assert rows == {(row, tier, draw) for row in (0, 1) for tier in ("any", "original") for draw in range(3)}
    assert len(index) == 12
    assert [len(values) for values in (expand_tiers([], config)[0], *expand_tiers([], config)[1].values())] == [0, 0, 0]
