"""Features in chunks, pairs, and what an epoch's batches hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from artsim.batches import Features, Pairs, batches, plan_epoch
from artsim.config import TrainingConfig
from tests.unit.test_training import chunks, make_pairs


def test_gather_takes_rows_from_their_chunks() -> None:
    pooled, tokens = np.random.rand(50, 3).astype(np.float32), np.random.rand(50, 4, 2).astype(np.float16)
    features = Features(chunks(pooled), chunks(tokens))
    rows = np.array([49, 0, 6, 7, 7, 39, 40])
    batch = features.gather(rows)
    assert len(features) == 50
    assert features.sizes == (3, 2, 4)
    np.testing.assert_array_equal(batch["pooled"], pooled[rows])
    np.testing.assert_array_equal(batch["tokens"], tokens[rows])
    assert batch["tokens"].dtype == torch.float16
    assert features.gather(rows[:0])["pooled"].shape == (0, 3)
    for wrong in (-1, 50):
        with pytest.raises(IndexError):
            features.gather(np.array([0, wrong]))
    with pytest.raises(ValueError, match="chunks of tokens"):
        Features(chunks(pooled), [tokens])
    with pytest.raises(ValueError, match="2 wide, pictures 3"):
        Features(chunks(pooled), None, chunks(pooled[:, :2]))


@pytest.mark.parametrize(("num_pairs", "batch_size"), [(100, 32), (33, 32), (5, 32), (64, 32), (101, 7)])
def test_every_pair_once_in_batches_of_nearly_one_size(num_pairs: int, batch_size: int) -> None:
    cut = batches(num_pairs, batch_size, epoch=3, seed=1)
    sizes = [len(batch) for batch in cut]
    assert sorted(np.concatenate(cut)) == list(range(num_pairs))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    again, next_epoch, other_seed = (batches(num_pairs, batch_size, e, s) for e, s in ((3, 1), (4, 1), (3, 2)))
    assert all(np.array_equal(one, two) for one, two in zip(cut, again, strict=True))
    assert not np.array_equal(np.concatenate(cut), np.concatenate(next_epoch))
    assert not np.array_equal(np.concatenate(cut), np.concatenate(other_seed))


def test_hard_negatives_come_along_as_told() -> None:
    pairs = make_pairs(num_hard=3)
    row_of_positive = {row: at for at, row in enumerate(pairs.positive)}
    config = TrainingConfig(batch_size=16, hard_share=0.5)
    planned = plan_epoch(pairs, config, epoch=2, seed=1)
    order = batches(len(pairs), 16, epoch=2, seed=1)
    for batch, members in zip(planned, order, strict=True):
        np.testing.assert_array_equal(batch.pictures, np.stack([pairs.anchor[members], pairs.positive[members]], 1))
        assert len(batch.hard) == round(0.5 * len(members))
        np.testing.assert_array_equal(batch.groups[: len(members)], pairs.group[members])
        for row, group in zip(batch.hard, batch.groups[len(members) :], strict=True):
            assert group == pairs.group[row_of_positive[row]]
            assert row in pairs.hard[members]
    again, next_epoch, other_seed = (plan_epoch(pairs, config, e, s) for e, s in ((2, 1), (3, 1), (2, 2)))
    drawn = [np.concatenate([batch.hard for batch in some]) for some in (planned, again, next_epoch, other_seed)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], drawn[3])


def test_every_hard_negative_of_a_pair_is_drawn_in_some_epoch() -> None:
    pairs = make_pairs(num_hard=3)
    config = TrainingConfig(batch_size=64, hard_share=1.0)
    seen = np.concatenate([plan_epoch(pairs, config, epoch, seed=0)[0].hard for epoch in range(60)])
    assert set(seen) == set(pairs.hard[pairs.hard >= 0])
    first, count = np.unique(seen, return_counts=True)
    assert len(first) == 60
    # Of 48 pairs with three and 12 with one: as likely each, the rarest is drawn 20 times in 60 epochs by chance.
    assert count.min() > 20 / 3


@pytest.mark.parametrize("changes", [{"loss": "triplet"}, {"hard_share": 0.0}])
def test_no_hard_negatives_where_none_are_wanted(changes: dict[str, object]) -> None:
    config = TrainingConfig(batch_size=16).model_copy(update=changes)
    pairs = make_pairs(num_hard=2).to_train(config)
    assert all(len(batch.hard) == 0 for batch in plan_epoch(pairs, config, epoch=0, seed=0))
    for some in (make_pairs(), make_pairs(num_hard=1)):
        there = [len(batch.hard) for batch in plan_epoch(some, TrainingConfig(batch_size=16), epoch=0, seed=0)]
        assert any(there) == bool(some.hard.size)


def test_shares_of_ranks_are_the_batch() -> None:
    batch = plan_epoch(make_pairs(num_hard=2), TrainingConfig(batch_size=9, hard_share=0.2), epoch=0, seed=0)[0]
    assert batch.hard.shape == (2,)
    first, second, third = (batch.share(rank, 3) for rank in range(3))
    np.testing.assert_array_equal(first, [*batch.pictures[:3].reshape(-1), batch.hard[0]])
    np.testing.assert_array_equal(second, [*batch.pictures[3:6].reshape(-1), batch.hard[1]])
    np.testing.assert_array_equal(third, batch.pictures[6:].reshape(-1))


def test_pictures_are_those_that_the_loss_looks_at() -> None:
    anchor, positive, negative = np.array([0, 1, 2]), np.array([3, 4, 5]), np.array([4, -1, 3])
    hard, groups = np.array([[6, -1], [-1, -1], [7, 6]]), np.array([[9, -1], [-1, -1], [8, 9]])
    pairs = Pairs(anchor, positive, negative, anchor, hard, groups)
    assert pairs.pictures(TrainingConfig()).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert pairs.pictures(TrainingConfig(hard_share=0)).tolist() == [0, 1, 2, 3, 4, 5]
    assert pairs.pictures(TrainingConfig(loss="triplet")).tolist() == [0, 2, 3, 4, 5]
