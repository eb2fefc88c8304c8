"""Features, batches, epochs, validation, early stopping, exact resume, and two processes against one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from artsim.batches import Batch, Features, Pairs, plan_epoch
from artsim.config import HeadConfig, TrainingConfig
from artsim.siamese import build_head, gather_rows, info_nce
from artsim.training import (
    EarlyStopping,
    TrainingState,
    embed_rows,
    load_checkpoint,
    save_checkpoint,
    start_training,
    statistics,
    train_epoch,
    validate,
)

NUM_PAINTINGS, WIDTH, NUM_TOKENS, TOKEN_WIDTH = 30, 16, 4, 6
HEADS = {
    "tokens": HeadConfig(preset="tokens", model_size=16, num_heads=2, hidden_size=16),
    "pooled": HeadConfig(preset="pooled", num_heads=2, hidden_size=16),
    "fusion": HeadConfig(preset="pooled", num_heads=2, hidden_size=16, caption_fusion=True),
}


def chunks(values: np.ndarray) -> list[np.ndarray]:
    """Uneven read-only chunks, one of them empty, as the buckets of a table give them."""
    parts = np.split(values, [7, 7, 40])
    for part in parts:
        part.flags.writeable = False
    return parts


def make_features(name: str = "tokens") -> Features:
    """Paintings in the first rows, then two versions of each: the painting with noise."""
    rng = np.random.default_rng(0)
    paintings = rng.normal(size=(NUM_PAINTINGS, WIDTH))
    pooled = np.concatenate([paintings, *(paintings + rng.normal(0, 0.7, paintings.shape) for _ in range(2))])
    tokens = rng.normal(size=(len(pooled), NUM_TOKENS, TOKEN_WIDTH)).astype(np.float16)
    captions = pooled[:, ::-1].astype(np.float32) + 1
    return Features(
        chunks(pooled.astype(np.float32)),
        chunks(tokens) if name == "tokens" else None,
        chunks(captions) if name == "fusion" else None,
    )


def make_pairs(first: int = 0, last: int = NUM_PAINTINGS, num_hard: int = 0) -> Pairs:
    """Both versions of each painting, against the version of another one; every fifth has no negative.

    Each has num_hard hard negatives, every fifth but one; they are versions of other paintings too.
    """
    anchor = np.tile(np.arange(first, last), 2)
    positive = np.concatenate([np.arange(first, last) + level * NUM_PAINTINGS for level in (1, 2)])
    negative = np.where(np.arange(len(anchor)) % 5 == 4, -1, np.roll(positive, 3))
    shifts = [np.roll(np.arange(len(anchor)), 4 + shift) for shift in range(num_hard)]
    if not shifts:
        return Pairs(anchor, positive, negative, anchor)
    there = (np.arange(len(anchor))[:, None] % 5 != 4) | (np.arange(num_hard) == num_hard - 1)
    hard, group = (np.where(there, np.stack([of[at] for at in shifts], 1), -1) for of in (positive, anchor))
    return Pairs(anchor, positive, negative, anchor, hard, group)


def make_state(name: str, config: TrainingConfig) -> TrainingState:
    torch.manual_seed(0)
    features = make_features(name)
    head = build_head(HEADS[name], *features.sizes)
    head.set_statistics(statistics(features, np.arange(len(features))))
    return start_training(head, config)


def weights(state: TrainingState) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.head.state_dict().items()}


def test_statistics_are_numpys() -> None:
    features, rows = make_features(), np.arange(5, 60)
    batch = features.gather(rows)
    pooled, tokens = batch["pooled"].numpy(), batch["tokens"].numpy().astype(float)
    found = statistics(features, rows)
    some = statistics(features, rows, max_token_rows=20)
    assert found.token_mean is not None
    assert found.token_std is not None
    assert some.token_mean is not None
    np.testing.assert_allclose(found.pooled_mean, pooled.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.token_mean, tokens.mean((0, 1)), atol=1e-6)
    np.testing.assert_allclose(found.token_std, tokens.std((0, 1)), atol=1e-6)
    np.testing.assert_allclose(some.token_mean, tokens[::3].mean((0, 1)), atol=1e-6)
    assert statistics(make_features("pooled"), rows).token_mean is None


@pytest.mark.parametrize("loss", ["triplet", "infonce"])
@pytest.mark.parametrize("name", HEADS)
def test_training_learns_and_moves_the_temperature(name: str, loss: str) -> None:
    config = TrainingConfig(loss=loss, lr=3e-3, batch_size=16)
    state, features, pairs = make_state(name, config), make_features(name), make_pairs()
    before = validate(state, features, pairs, config)
    for _ in range(5):
        figures = train_epoch(state, features, pairs, config, seed=0)
        state.end_epoch(figures, validate(state, features, pairs, config))
    after = state.history[-1]
    assert after["val_loss"] < 0.7 * before["loss"]
    assert figures["num_pairs"] == (48 if loss == "triplet" else 60)
    assert HEADS[name].min_temperature <= figures["temperature"] <= HEADS[name].max_temperature
    assert abs(figures["temperature"] - HEADS[name].temperature) > 1e-3
    assert [row["epoch"] for row in state.history] == list(range(5))


def test_validation_is_what_a_loop_over_the_triplets_finds() -> None:
    config = TrainingConfig(batch_size=100)
    state, features, pairs = make_state("tokens", config), make_features(), make_pairs()
    train_epoch(state, features, pairs, config, seed=0)
    embedded = state.head.eval()(**features.gather(np.arange(len(features)))).detach().numpy()
    triplets = [(a, p, n) for a, p, n in zip(pairs.anchor, pairs.positive, pairs.negative, strict=True) if n >= 0]
    positive = np.array([embedded[a] @ embedded[p] for a, p, _ in triplets])
    negative = np.array([embedded[a] @ embedded[n] for a, _, n in triplets])
    figures = validate(state, features, pairs, config)
    anchor, versions = torch.from_numpy(embedded[pairs.anchor]), torch.from_numpy(embedded[pairs.positive])
    loss = info_nce(anchor, versions, state.head.temperature, torch.from_numpy(pairs.group))
    assert figures["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert figures["triplet_accuracy"] == np.mean(positive > negative)
    assert figures["mean_positive"] == pytest.approx(positive.mean(), abs=1e-5)
    assert figures["gap"] == pytest.approx(positive.mean() - negative.mean(), abs=1e-5)


SWITCHES: dict[str, dict[str, Any]] = {
    "full": {},
    "no hard negatives": {"hard_share": 0.0},
    "no mask": {"mask_groups": False},
    "one way": {"both_ways": False},
    "neither": {"mask_groups": False, "both_ways": False, "hard_share": 1.0},
}


def written_out(vectors: np.ndarray, batch: Batch, temperature: float, config: TrainingConfig) -> float:
    """The loss of a batch, term by term."""
    size = len(batch.pictures)
    anchors, candidates = batch.pictures[:, 0], [*batch.pictures[:, 1], *batch.hard]

    def loss(i: int, similarities: list[float]) -> float:
        terms = [
            np.exp(similarity / temperature)
            for j, similarity in enumerate(similarities)
            if j == i or not config.mask_groups or batch.groups[i] != batch.groups[j]
        ]
        return -np.log(np.exp(similarities[i] / temperature) / sum(terms))

    forth = [loss(i, [vectors[anchors[i]] @ vectors[other] for other in candidates]) for i in range(size)]
    back = [loss(i, [vectors[candidates[i]] @ vectors[other] for other in anchors]) for i in range(size)]
    return float(np.mean([forth, back]) if config.both_ways else np.mean(forth))


@pytest.mark.parametrize("switch", SWITCHES)
def test_the_loss_is_what_is_written_out_for_each_switch(switch: str) -> None:
    config = TrainingConfig(batch_size=100).model_copy(update=SWITCHES[switch])
    features, pairs = make_features(), make_pairs(num_hard=2)
    torch.manual_seed(0)
    state = start_training(build_head(HEADS["tokens"].model_copy(update={"dropout": 0.0}), *features.sizes), config)
    vectors = state.head.eval()(**features.gather(np.arange(len(features)))).detach().double().numpy()
    (batch,) = plan_epoch(pairs, config, epoch=0, seed=0)
    expected = written_out(vectors, batch, state.head.temperature.item(), config)
    assert validate(state, features, pairs, config)["loss"] == pytest.approx(expected, abs=1e-5)
    assert train_epoch(state, features, pairs, config, seed=0)["loss"] == pytest.approx(expected, abs=1e-5)
    others = [TrainingConfig(batch_size=100).model_copy(update=SWITCHES[name]) for name in SWITCHES if name != switch]
    for other in others:
        (batch,) = plan_epoch(pairs, other, epoch=0, seed=0)
        assert abs(written_out(vectors, batch, HEADS["tokens"].temperature, other) - expected) > 1e-3


def test_a_fixed_temperature_stays() -> None:
    config, features = TrainingConfig(lr=3e-3, batch_size=16), make_features()
    fixed = HEADS["tokens"].model_copy(update={"min_temperature": 0.07, "max_temperature": 0.07})
    state = start_training(build_head(fixed, *features.sizes), config)
    for _ in range(2):
        assert train_epoch(state, features, make_pairs(), config, seed=0)["temperature"] == pytest.approx(0.07)


def test_nothing_to_learn_from_is_refused() -> None:
    pairs = make_pairs()
    alone = Pairs(pairs.anchor, pairs.positive, np.full_like(pairs.negative, -1), pairs.group)
    config = TrainingConfig(loss="triplet")
    with pytest.raises(ValueError, match="not one picture"):
        statistics(make_features(), np.array([], int))
    state = make_state("pooled", config)
    with pytest.raises(ValueError, match="not one pair"):
        train_epoch(state, make_features("pooled"), alone, config, seed=0)
    with pytest.raises(ValueError, match="not one pair"):
        validate(state, make_features("pooled"), alone, config)


def test_early_stopping_waits_for_patience_and_counts_min_delta() -> None:
    stopping = EarlyStopping(patience=2, min_delta=0.1)
    assert [stopping.update(loss) for loss in (1.0, 0.95, 0.8, 0.75)] == [True, False, True, False]
    resumed = EarlyStopping(patience=2, min_delta=0.1)
    resumed.load_state_dict(json.loads(json.dumps(stopping.state_dict())))
    assert not resumed.done
    assert not resumed.update(float("nan"))
    assert resumed.done


@pytest.mark.parametrize("name", ["tokens", "fusion"])
def test_three_epochs_and_three_more_are_six_bit_for_bit(tmp_path: Path, name: str) -> None:
    config = TrainingConfig(batch_size=16, lr_patience=0, min_delta=0.5)
    features, pairs = make_features(name), make_pairs()

    def train(state: TrainingState, num_epochs: int) -> TrainingState:
        for _ in range(num_epochs):
            figures = train_epoch(state, features, pairs, config, seed=7) | {"seconds": 0.0}
            state.end_epoch(figures, validate(state, features, pairs, config))
        return state

    whole = train(make_state(name, config), 6)
    save_checkpoint(tmp_path / "checkpoint", train(make_state(name, config), 3))
    torch.manual_seed(99)
    torch.rand(5)
    resumed = start_training(build_head(HEADS[name], *features.sizes), config)
    load_checkpoint(tmp_path / "checkpoint", resumed)
    train(resumed, 3)
    assert all(torch.equal(value, weights(resumed)[key]) for key, value in weights(whole).items())
    assert resumed.history == whole.history
    assert resumed.stopping.state_dict() == whole.stopping.state_dict()
    assert resumed.scheduler.state_dict() == whole.scheduler.state_dict()


def _joint_step(rank: int, world_size: int, out: Path) -> None:
    """The loss and gradients of one joint batch, with the temperature's; nothing random in it."""
    torch.manual_seed(0)
    head = torch.nn.Linear(5, 4).double()
    head.log_temperature = torch.nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))
    model = DistributedDataParallel(head) if world_size > 1 else head
    inputs = torch.randn(7, 2, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    share = torch.from_numpy(np.array_split(inputs.numpy(), world_size)[rank])
    joint = torch.nn.functional.normalize(gather_rows(model(share), len(inputs)), dim=-1)
    groups = torch.tensor([0, 1, 1, 2, 3, 4, 0])
    loss = info_nce(joint[:, 0], joint[:, 1], head.log_temperature.exp(), groups)
    loss.backward()
    gradients = {name: value.grad for name, value in head.named_parameters()}
    torch.save({"loss": loss.detach(), **gradients}, out / f"step-{world_size}-{rank}")


def _epochs(rank: int, world_size: int, out: Path, name: str, loss: str) -> None:
    """Two epochs without dropout, and validation; with hard negatives some ranks have none in a batch."""
    config = TrainingConfig(loss=loss, batch_size=9, hard_share=0.15, mixed_precision=False)
    features, pairs = make_features(name), make_pairs(num_hard=2)
    torch.manual_seed(0)
    head = build_head(HEADS[name].model_copy(update={"dropout": 0.0}), *features.sizes)
    model = DistributedDataParallel(head) if world_size > 1 else head
    state = start_training(model, config)
    for _ in range(2):
        figures = train_epoch(state, features, pairs, config, seed=0) | {"seconds": 0.0}
        state.end_epoch(figures, validate(state, features, pairs, config))
    embedded = embed_rows(state.head, features, np.arange(5))
    torch.save({"history": state.history, "embedded": embedded}, out / f"epochs-{name}-{loss}-{world_size}-{rank}")


def _run(rank: int, world_size: int, out: Path) -> None:
    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{out}/meet", rank=rank, world_size=world_size)
    _joint_step(rank, world_size, out)
    for name, loss in (("tokens", "infonce"), ("fusion", "triplet"), ("fusion", "infonce")):
        _epochs(rank, world_size, out, name, loss)
    if world_size > 1:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process and two processes made of the same work."""
    out = tmp_path_factory.mktemp("ranks")
    mp.spawn(_run, args=(2, out), nprocs=2)
    _run(0, 1, out)
    return out


def _load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_have_the_joint_batchs_loss_and_gradients(one_and_two: Path, rank: int) -> None:
    alone, together = _load(one_and_two / "step-1-0"), _load(one_and_two / f"step-2-{rank}")
    assert alone.keys() == {"loss", "weight", "bias", "log_temperature"}
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("case", ["tokens-infonce", "fusion-triplet", "fusion-infonce"])
def test_two_processes_train_as_one(one_and_two: Path, case: str) -> None:
    alone, first, second = (_load(one_and_two / f"epochs-{case}-{ranks}") for ranks in ("1-0", "2-0", "2-1"))
    torch.testing.assert_close(first["embedded"], alone["embedded"], atol=1e-4, rtol=0)
    assert first["history"] == second["history"]
    for ours, theirs in zip(first["history"], alone["history"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
