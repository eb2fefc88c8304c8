"""Splits that cut no group, and negatives against a definition of each tier by brute force."""

import random
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest

from artsim.config import LEVELS, TIERS, SplitConfig, TripletsConfig
from artsim.tables import TableError
from artsim.triplets import (
    AssignSplit,
    Candidates,
    DrawNegatives,
    Facts,
    Pool,
    assign_groups,
    check_splits,
    expand_tiers,
    group_of,
)

Painting = tuple[str, str, str | None]
Drawn = tuple[str | None, str | None, int | None]


def collection(num_paintings: int, num_artists: int, seed: int = 0) -> list[Painting]:
    """(id, genre, artist); a few big hands and many small ones, some unknown; artists work in several genres."""
    choose = random.Random(seed)
    paintings: list[Painting] = []
    for number in range(num_paintings):
        artist = (
            f"artist{int(num_artists * choose.random() ** 2)}" if choose.random() < 0.9 else choose.choice([None, ""])
        )
        paintings.append((f"g/{number:04d}", f"genre{choose.randrange(5)}", artist))
    return paintings


def twins_of(paintings: list[Painting], seed: int = 0) -> dict[str, str]:
    """The components of a collection in which every fifth painting is there two to four times, by any artists."""
    choose = random.Random(seed)
    ids = choose.sample(sorted(painting for painting, _, _ in paintings), len(paintings) // 5)
    component = {painting: painting for painting, _, _ in paintings}
    while ids:
        same = [ids.pop() for _ in range(min(len(ids), choose.randint(2, 4)))]
        component.update(dict.fromkeys(same, min(same)))
    return component


def artworks(paintings: list[Painting], twins: dict[str, str] | None = None) -> pa.Table:
    schema = pa.schema([(name, pa.string()) for name in ("id", "genre", "artist", "component")])
    rows = [(*painting, (twins or {}).get(painting[0], painting[0])) for painting in paintings]
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)


def splits_of(
    paintings: list[Painting], config: SplitConfig, seed: int = 0, twins: dict[str, str] | None = None
) -> dict[str, tuple[str, str]]:
    """(group, split) of each painting, through the stage."""
    table = artworks(paintings, twins)
    stage = AssignSplit(config, assign_groups(table, config, seed))
    batch = {name: np.array(table[name].to_pylist(), object) for name in ("id", "artist")}
    done = stage(batch)
    return dict(zip(done["id"], zip(done["group"], done["split"], strict=True), strict=True))


@pytest.mark.parametrize("configuration", ["a70", "b80"])
@pytest.mark.parametrize("group", ["artist", "painting"])
@pytest.mark.parametrize("seed", range(3))
def test_no_group_is_cut_and_the_shares_are_roughly_met(configuration: str, group: str, seed: int) -> None:
    config = SplitConfig.model_validate({"configuration": configuration, "group": group})
    paintings = collection(600, 80, seed)
    found = splits_of(paintings, config, seed)
    assert len(found) == 600
    splits_of_artist = defaultdict(set)
    for row_id, _, artist in paintings:
        splits_of_artist[artist or row_id].add(found[row_id][1])
        assert found[row_id][0] == (artist or row_id if group == "artist" else row_id)
    assert all(len(splits) == 1 for splits in splits_of_artist.values()) == (group == "artist")
    counts = Counter(split for _, split in found.values())
    for split, share in config.shares.items():
        assert counts[split] / 600 == pytest.approx(share, abs=0.06 if group == "artist" else 0.005)


def test_splits_depend_on_seed_and_collection_alone() -> None:
    paintings, config = collection(200, 40), SplitConfig()
    assert splits_of(paintings, config, 1) == splits_of(paintings[::-1], config, 1)
    assert splits_of(paintings, config, 1) != splits_of(paintings, config, 2)


@pytest.mark.parametrize("group", ["artist", "painting"])
@pytest.mark.parametrize("seed", range(3))
def test_no_component_and_no_group_is_cut(group: str, seed: int) -> None:
    config = SplitConfig.model_validate({"group": group})
    paintings = collection(600, 400, seed)
    twins = twins_of(paintings, seed)
    found, before = splits_of(paintings, config, seed, twins), splits_of(paintings, config, seed)
    split_of: dict[str, set[str]] = defaultdict(set)
    for row_id, _, artist in paintings:
        for whole in (twins[row_id], found[row_id][0], *([artist] if artist and group == "artist" else [])):
            split_of[whole].add(found[row_id][1])
    assert all(len(splits) == 1 for splits in split_of.values())
    assert {split for _, split in found.values()} == {"train", "val", "test"}
    torn = {row_id for row_id, component in twins.items() if before[row_id][1] != before[component][1]}
    assert len(torn) > 20


def test_joined_groups_are_named_by_the_first_artist_among_them() -> None:
    paintings: list[Painting] = [("G/1", "g", "b"), ("G/2", "g", "c"), ("G/3", "g", None), ("G/4", "g", "a")]
    paintings += [("G/5", "g", "c"), ("G/6", "g", ""), ("G/7", "g", None)]
    twins = {"G/2": "G/1", "G/3": "G/3", "G/5": "G/3", "G/7": "G/6"}
    groups = {row_id: group for row_id, (group, _) in splits_of(paintings, SplitConfig(), twins=twins).items()}
    assert groups == {"G/1": "b", "G/2": "b", "G/3": "b", "G/5": "b", "G/4": "a", "G/6": "G/6", "G/7": "G/6"}
    groups = {row_id: g for row_id, (g, _) in splits_of(paintings, SplitConfig(group="painting"), twins=twins).items()}
    assert groups == {row_id: twins.get(row_id, row_id) for row_id, _, _ in paintings}


def test_unknown_artists_are_not_one_artist() -> None:
    config = SplitConfig()
    assert [group_of("p", artist, config) for artist in ("a", "", None)] == ["a", "p", "p"]


@pytest.mark.parametrize("artists", [[], ["a"] * 50, ["a"] * 20 + ["b"] * 20])
def test_too_few_groups_are_refused_with_advice(artists: list[str]) -> None:
    paintings: list[Painting] = [(f"g/{number}", "genre", artist) for number, artist in enumerate(artists)]
    with pytest.raises(TableError, match=rf"{len(set(artists))} groups by artist leave .*test.* empty: add paintings"):
        check_splits(assign_groups(artworks(paintings), SplitConfig(), 0), SplitConfig())


class World:
    """A collection with splits and versions, of which some were never made."""

    def __init__(self, num_paintings: int = 120, num_artists: int = 25, num_variants: int = 2) -> None:
        self.paintings = collection(num_paintings, num_artists)
        self.genre = {row_id: genre for row_id, genre, _ in self.paintings}
        self.artist = {row_id: artist or None for row_id, _, artist in self.paintings}
        self.component = twins_of(self.paintings)
        found = splits_of(self.paintings, SplitConfig(group="painting"), twins=self.component)
        self.split = {row_id: split for row_id, (_, split) in found.items()}
        choose = random.Random(1)
        kinds = [(level, variant) for level in LEVELS for variant in range(num_variants)]
        self.versions = [(row_id, *kind) for row_id in self.genre for kind in kinds if choose.random() < 0.8]

    def candidates(self) -> Candidates:
        splits = pa.table({"id": list(self.split), "split": list(self.split.values())})
        ids, levels, variants = map(list, zip(*self.versions, strict=True))
        versions = pa.table({"id": ids, "level": levels, "variant": pa.array(variants, pa.int32())})
        return Candidates(artworks(self.paintings, self.component), splits, versions)

    def allowed(self, tier: str, anchor: str, level: str, variant: int) -> set[Drawn]:
        """All negatives that the definition of a tier allows."""
        genre, artist = self.genre, self.artist
        related = {
            "any": lambda other: True,
            "other_genre": lambda other: genre[other] != genre[anchor],
            "same_genre": lambda other: genre[other] == genre[anchor] and artist[other] != artist[anchor],
            "same_artist": lambda other: artist[other] == artist[anchor] is not None,
            "original": lambda other: genre[other] != genre[anchor],
        }[tier]
        kinds = [(row_id, None, None) for row_id in genre] if tier == "original" else self.versions
        return {
            (other, *kind)
            for other, *kind in kinds
            if self.component[other] != self.component[anchor]
            if self.split[other] == self.split[anchor] and related(other)
            if tier == "original" or kind == [level, variant]
        }

    def batch(self, config: TripletsConfig) -> dict[str, np.ndarray]:
        index, added = expand_tiers([row_id for row_id, _, _ in self.versions], config)
        ids, levels, variants = (np.array(column, object)[index] for column in zip(*self.versions, strict=True))
        facts = {name: np.array([table[row_id] for row_id in ids], object) for name, table in self._facts()}
        return {"id": ids, "level": levels, "variant": variants.astype(np.int32)} | added | facts

    def _facts(self) -> list[tuple[str, dict[str, str]]]:
        return [
            ("split", self.split),
            ("genre", self.genre),
            ("artist", {row_id: a for row_id, _, a in self.paintings}),
            ("component", self.component),
        ]


def drawn(done: dict[str, np.ndarray]) -> list[Drawn]:
    names = ("negative_id", "negative_level", "negative_variant")
    return list(zip(*(done[name].tolist() for name in names), strict=True))


def test_every_negative_fits_its_tier_and_is_none_only_where_nobody_fits() -> None:
    world, config = World(), TripletsConfig(num_negatives=2)
    batch = world.batch(config)
    for values in batch.values():
        values.setflags(write=False)
    done = DrawNegatives(config, 0, world.candidates())(batch)
    nobody = Counter()
    keys = zip(*(batch[name].tolist() for name in ("tier", "id", "level", "variant")), strict=True)
    for key, negative in zip(keys, drawn(done), strict=True):
        allowed = world.allowed(*key)
        assert negative in (allowed or {(None, None, None)}), key
        nobody[key[0]] += not allowed
    assert nobody["same_artist"] > 0
    assert nobody["any"] == 0


def test_every_candidate_is_drawn_equally_often() -> None:
    world, config = World(60, 6, 1), TripletsConfig(num_negatives=1000)
    anchor = next(row for row in world.versions if world.artist[row[0]] and len(world.allowed("same_artist", *row)) > 2)
    world_batch = world.batch(config)
    keys = list(zip(*(world_batch[name].tolist() for name in ("id", "level", "variant")), strict=True))
    at = [row for row, key in enumerate(keys) if key == anchor]
    batch = {name: values[at] for name, values in world_batch.items()}
    found = drawn(DrawNegatives(config, 0, world.candidates())(batch))
    for tier in TIERS:
        counts = Counter(negative for negative, of in zip(found, batch["tier"], strict=True) if of == tier)
        allowed = world.allowed(tier, *anchor)
        assert counts.keys() == allowed, tier
        mean = 1000 / len(allowed)
        chi_square = sum((count - mean) ** 2 / mean for count in counts.values())
        assert chi_square < len(allowed) + 4 * (2 * len(allowed)) ** 0.5 + 6, tier


def test_negatives_depend_on_seed_and_row_alone() -> None:
    world, config = World(), TripletsConfig()
    batch = world.batch(config)
    whole = drawn(DrawNegatives(config, 3, world.candidates())(batch))
    world.paintings.reverse()
    world.versions.reverse()
    stage = DrawNegatives(config, 3, world.candidates())
    for row in range(0, len(whole), 97):
        assert drawn(stage({name: values[row : row + 1] for name, values in batch.items()})) == [whole[row]]
    assert drawn(DrawNegatives(config, 4, world.candidates())(batch)) != whole


def test_draws_of_one_positive_differ() -> None:
    world, config = World(), TripletsConfig(tiers=("any",), num_negatives=5)
    found = drawn(DrawNegatives(config, 0, world.candidates())(world.batch(config)))
    repeated = sum(len(set(found[start : start + 5])) == 1 for start in range(0, len(found), 5))
    assert repeated < 0.02 * len(found) / 5


def test_paintings_that_a_table_lacks_are_nobodys_negative() -> None:
    world, config = World(), TripletsConfig()
    candidates = world.candidates()
    world.paintings.append(("g/unsplit", "genre0", "artist0"))
    world.versions += [("g/unsplit", "radical", 0), ("g/unknown", "radical", 0)]
    world.split["g/gone"] = "train"
    more = world.candidates()
    del world.split["g/gone"]
    world.versions = world.versions[:-2]
    batch = world.batch(config)
    assert drawn(DrawNegatives(config, 0, more)(batch)) == drawn(DrawNegatives(config, 0, candidates)(batch))


def test_a_pool_serves_paintings_that_it_does_not_hold() -> None:
    pool = Pool([Facts("a", "g", "x"), Facts("b", "h", "y")])
    assert {pool.draw("any", Facts("c", "g", "x"), seed) for seed in range(20)} == {"a", "b"}
    assert {pool.draw("same_artist", Facts("c", "g", "x"), seed) for seed in range(20)} == {"a"}
    assert {pool.draw("other_genre", Facts("c", "new", "z"), seed) for seed in range(20)} == {"a", "b"}
    assert pool.draw("same_genre", Facts("c", "new", "z"), 0) is None
    assert Pool([]).draw("any", Facts("c", "g", "x"), 0) is None


def test_what_shows_the_same_is_no_negative_whoever_painted_it() -> None:
    anchor = Facts("a", "g", "x")
    twins = [anchor, Facts("b", "g", "y"), Facts("c", "h", "x"), Facts("not there", "h", "z")]
    pool = Pool([*twins[:3], Facts("d", "g", "y"), Facts("e", "h", "x"), Facts("f", "h", "y")])
    drawn = {tier: {pool.draw(tier, anchor, seed, twins) for seed in range(50)} for tier in TIERS}
    assert drawn == {
        "any": {"d", "e", "f"},
        "other_genre": {"e", "f"},
        "original": {"e", "f"},
        "same_genre": {"d"},
        "same_artist": {"e"},
    }
    assert pool.draw("same_artist", anchor, 0, [*twins, Facts("e", "h", "x")]) is None


def test_each_positive_meets_each_tier_so_many_times() -> None:
    config = TripletsConfig(tiers=("any", "original"), num_negatives=3)
    index, added = expand_tiers(["a", "b"], config)
    rows = set(zip(index.tolist(), added["tier"].tolist(), added["draw"].tolist(), strict=True))
    assert rows == {(row, tier, draw) for row in (0, 1) for tier in ("any", "original") for draw in range(3)}
    assert len(index) == 12
    assert [len(values) for values in (expand_tiers([], config)[0], *expand_tiers([], config)[1].values())] == [0, 0, 0]
