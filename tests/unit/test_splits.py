"""Splits that cut no group, that have their share of every genre, and that the seed alone changes."""

import random
from collections import Counter, defaultdict
from itertools import combinations

import pytest

from artsim.config import SplitConfig
from artsim.splits import assign_groups, check_splits
from artsim.tables import TableError
from tests.unit.collection import Painting, artworks, collection, splits_of, twins_of

GROUPS = ["component", "artist", "genre"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "a70"),
        ({"group": "genre"}, "a70-genre"),
        ({"seed": 3}, "a70-3"),
        ({"group": "component", "seed": 2}, "a70-component-2"),
        ({"configuration": "b80", "min_similarity": 0.9}, "b80"),
    ],
)
def test_a_split_is_named_by_what_makes_it(settings: dict[str, object], name: str) -> None:
    assert SplitConfig.model_validate(settings).name == name


@pytest.mark.parametrize("configuration", ["a70", "b80"])
@pytest.mark.parametrize("group", ["artist", "component"])
@pytest.mark.parametrize("seed", range(3))
def test_each_split_has_its_share_of_all_and_of_each_genre(configuration: str, group: str, seed: int) -> None:
    config = SplitConfig.model_validate({"configuration": configuration, "group": group, "seed": seed})
    paintings = collection(1000, 120, seed)
    found = splits_of(paintings, config)
    splits_of_artist = defaultdict(set)
    by_genre: dict[str | None, Counter[str]] = defaultdict(Counter)
    for row_id, genre, artist in paintings:
        splits_of_artist[artist or row_id].add(found[row_id][1])
        by_genre[genre][found[row_id][1]] += 1
        assert found[row_id][0] == (artist or row_id if group == "artist" else row_id)
    assert all(len(splits) == 1 for splits in splits_of_artist.values()) == (group == "artist")
    counts = Counter(split for _, split in found.values())
    for split, share in config.shares.items():
        assert counts[split] / 1000 == pytest.approx(share, abs=0.012 if group == "artist" else 0.006)
        for genre, of_genre in by_genre.items():
            tolerance = 0.04 if group == "artist" else 0.012
            assert of_genre[split] / of_genre.total() == pytest.approx(share, abs=tolerance), genre


def test_a_genre_that_one_hand_painted_is_trained_on() -> None:
    paintings = [*collection(400, 60), *((f"g/own{number}", "of one", "hermit") for number in range(40))]
    assert {splits_of(paintings, SplitConfig(seed=seed))["g/own0"][1] for seed in range(10)} == {"train"}


@pytest.mark.parametrize("group", GROUPS)
def test_five_seeds_are_five_splits_and_the_largest_groups_move_too(group: str) -> None:
    choose = random.Random(1)
    paintings: list[Painting] = [
        (f"g/{number}", f"genre{int(27 * choose.random() ** 2)}", f"artist{int(200 * choose.random() ** 2)}")
        for number in range(2000)
    ]
    found = [splits_of(paintings, SplitConfig.model_validate({"group": group, "seed": seed})) for seed in range(5)]
    for one, other in combinations(found, 2):
        assert sum(one[row_id] != other[row_id] for row_id, _, _ in paintings) > 100
    if group == "artist":
        large = [artist for artist, _ in Counter(artist for _, _, artist in paintings).most_common(10)]
        splits = {(split, seed) for seed, places in enumerate(found) for g, split in places.values() if g in large}
        assert len({seed for split, seed in splits if split != "train"}) == 5


@pytest.mark.parametrize("group", GROUPS)
def test_splits_depend_on_seeds_and_collection_alone(group: str) -> None:
    paintings, config = collection(300, 40), SplitConfig.model_validate({"group": group})
    twins = twins_of(paintings)
    assert splits_of(paintings, config, 1, twins) == splits_of(paintings[::-1], config, 1, twins)
    assert splits_of(paintings, config, 1, twins) != splits_of(paintings, config, 2, twins)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("seed", range(3))
def test_no_component_and_no_group_is_cut(group: str, seed: int) -> None:
    config = SplitConfig.model_validate({"group": group, "seed": seed})
    paintings = collection(600, 400, seed)
    twins = twins_of(paintings, seed)
    found, before = splits_of(paintings, config, 0, twins), splits_of(paintings, config, 0)
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
    groups = {row_id: g for row_id, (g, _) in splits_of(paintings, SplitConfig(group="component"), twins=twins).items()}
    assert groups == {row_id: twins.get(row_id, row_id) for row_id, _, _ in paintings}


def test_a_genre_is_held_out_whole_but_for_twins_of_another() -> None:
    paintings, config = collection(400, 50), SplitConfig(group="genre")
    twins = twins_of(paintings)
    genre_of = {row_id: genre for row_id, genre, _ in paintings}
    found = splits_of(paintings, config, twins=twins)
    assert all(group == genre_of[twins[row_id]] for row_id, (group, _) in found.items())
    assert len(set(found.values())) == 5
    moved = [row_id for row_id, (group, _) in found.items() if group != genre_of[row_id]]
    assert 0 < len(moved) < len([row_id for row_id, first in twins.items() if row_id != first])
    without = splits_of([(row_id, None, artist) for row_id, _, artist in paintings], config, twins=twins)
    assert {row_id: group for row_id, (group, _) in without.items()} == twins


@pytest.mark.parametrize("artists", [[], ["a"] * 50, ["a"] * 20 + ["b"] * 20])
def test_too_few_groups_are_refused_with_advice(artists: list[str]) -> None:
    paintings: list[Painting] = [(f"g/{number}", "genre", artist) for number, artist in enumerate(artists)]
    with pytest.raises(TableError, match=rf"{len(set(artists))} groups by artist, .* leave .*test.* empty: add"):
        check_splits(assign_groups(artworks(paintings), SplitConfig(), 0), SplitConfig())


def test_three_groups_of_any_size_fill_three_splits() -> None:
    sizes = {"a": 90, "b": 8, "c": 2}
    paintings: list[Painting] = [(f"{a}/{number}", "g", a) for a, size in sizes.items() for number in range(size)]
    for seed in range(5):
        check_splits(assign_groups(artworks(paintings), SplitConfig(seed=seed), 0), SplitConfig())
        assert splits_of(paintings, SplitConfig(seed=seed))["a/0"] == ("a", "train")
