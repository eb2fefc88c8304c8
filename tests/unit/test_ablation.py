"""What each choice changes, what a head scores on known geometry, and intervals over seeds and artists."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from artsim import ablation
from artsim.ablation import Hits
from artsim.batches import Features
from artsim.bootstrap import Bootstrap, interval
from artsim.cache import Key
from artsim.config import CHOICES, Choice, Config, HeadConfig
from artsim.siamese import Head


def flat(tree: dict[str, object], path: str = "") -> dict[str, object]:
    found = {}
    for name, value in tree.items():
        found |= flat(value, f"{path}{name}.") if isinstance(value, dict) else {path + name: value}
    return found


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_changes_what_it_says_and_nothing_else(choice: Choice) -> None:
    base = Config.model_validate({"seed": 5})
    made = ablation.config_of(base, choice, 3)
    before, after = flat(base.model_dump()), flat(made.model_dump())
    changed = {name: value for name, value in after.items() if before[name] != value}
    assert changed.pop("seed") == 8
    assert changed.pop("split.seed") == 3
    assert changed.pop("training.name") == made.model_name == f"ablation-{choice}-3"
    said = flat(ablation.SETTINGS[choice])
    assert set(changed) <= set(said)
    assert all(after[name] == value for name, value in said.items())
    assert bool(changed) == (choice != "full")


def test_the_thesis_is_trained_as_its_own_code_does() -> None:
    made = ablation.config_of(Config.model_validate({"training": {"lr": 1e-5, "batch_size": 256}}), "thesis", 0)
    assert (made.training.lr, made.training.batch_size, made.training.num_epochs) == (3e-4, 32, 20)
    assert (made.training.loss, made.training.tier, made.head.preset) == ("triplet", "other_genre", "pooled")
    assert made.head.min_temperature == made.head.max_temperature == 0.07


class Identity(Head):
    """Embeds a picture as its features."""

    def __init__(self, width: int) -> None:
        super().__init__(HeadConfig(preset="pooled"), width, None, None)

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.nn.functional.normalize(pooled, dim=-1)


def test_scores_are_those_of_known_geometry() -> None:
    names = "abcd"
    keys: list[Key] = [(name, level, None if level is None else 0) for level in (None, "radical") for name in names]
    vectors = np.concatenate([np.eye(4), np.eye(4)]).astype(np.float32)
    vectors[4] = [0.4, 0.9, 0, 0]  # the version of a looks like b
    rows = [
        {
            "id": name,
            "level": "radical",
            "variant": 0,
            "tier": tier,
            "draw": 0,
            "negative_id": other,
            "negative_level": "radical",
            "negative_variant": 0,
            "split": split,
            "component": name,
        }
        for split, some in (("test", "abc"), ("train", "d"))
        for name, other in zip(some, "bac", strict=False)
        for tier in ("nearest", "any")
    ]
    rows[4]["negative_id"] = None  # c has nobody near
    row_of = {key: row for row, key in enumerate(keys)}
    artists = {"a": "x", "b": "y", "c": "y", "d": "z"}
    found = ablation.score(Identity(4), Features([vectors]), pa.Table.from_pylist(rows), row_of, artists)
    assert set(found) == {"recall@1 radical", "nearest radical"}
    assert found["recall@1 radical"].values.tolist() == [0, 1, 1]
    assert found["recall@1 radical"].groups.tolist() == [0, 1, 1]
    # a is alike to its own version, at least, and not at all to b's; b more to its own than to a's.
    assert found["nearest radical"].values.tolist() == [1, 1]


def hits(seed: int, num_groups: int = 30, share: float = 0.7) -> Hits:
    rng = np.random.default_rng(seed)
    groups = rng.integers(num_groups, size=200)
    return Hits((rng.random(200) < share).astype(float), groups)


def test_of_one_seed_the_interval_is_the_bootstrap_over_artists() -> None:
    one = hits(0)
    expected = interval(Bootstrap(one.groups, seed=7).means(one.values))
    assert ablation.interval([one]) == pytest.approx(expected, abs=0.015)


def test_seeds_that_differ_widen_the_interval() -> None:
    alike = ablation.interval([hits(seed) for seed in range(5)])
    differing = ablation.interval([hits(seed, share=share) for seed, share in enumerate((0.3, 0.5, 0.7, 0.9, 0.95))])
    single = ablation.interval([hits(0)])
    assert alike[1] - alike[0] < single[1] - single[0] < differing[1] - differing[0]
    # Without artists, the mean of five seeds drawn with replacement has the deviation of the five / sqrt(5).
    width = 2 * 1.96 * np.std([0.3, 0.5, 0.7, 0.9, 0.95]) / np.sqrt(5)
    assert differing[1] - differing[0] == pytest.approx(width, rel=0.25)


def test_differences_are_paired_row_by_row() -> None:
    full = [{"nearest radical": hits(seed)} for seed in range(3)]
    worse = []
    for run in full:
        values = run["nearest radical"].values.copy()
        values[np.flatnonzero(values)[:10]] = 0
        worse.append({"nearest radical": Hits(values, run["nearest radical"].groups)})
    figures = ablation.summarise({"full": full, "one_way": worse})
    found = figures["one_way"]["nearest radical"]
    assert found["n"] == 600
    assert found["difference"] == pytest.approx(-10 / 200)
    assert found["difference_interval"][1] < 0
    width = found["interval"][1] - found["interval"][0]
    assert found["difference_interval"][1] - found["difference_interval"][0] < width
    assert figures["full"]["nearest radical"]["difference_interval"] == (0, 0)
    shown = ablation.table(figures).splitlines()
    assert shown[0] == "| | nearest radical |"
    assert shown[2].startswith(f"| full | {figures['full']['nearest radical']['mean']:.3f} (")
    assert shown[-1].startswith("| one_way | **-0.050** (")
