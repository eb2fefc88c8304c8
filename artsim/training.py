"""Training a siamese head on cached features: one epoch, validation, early stopping, checkpoints. torch only.

Every function works in one process and in each process of a torch.distributed group, where all must call it.
Shapes: B pairs of a batch, h hard negatives that come along, D width of the pooled features.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from artsim.batches import Batch, Features, Pairs, Rows, plan_epoch
from artsim.config import TrainingConfig
from artsim.metrics import summary
from artsim.siamese import Head, Statistics, gather_rows, info_nce, rank_and_size, triplet_loss


class EarlyStopping:
    """Stop when the validation loss has not fallen by min_delta for `patience` epochs on end."""

    def __init__(self, patience: int, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best, self.num_bad_epochs = math.inf, 0

    def update(self, loss: float) -> bool:
        """Whether this epoch is the best so far: the one whose weights to keep."""
        if better := loss < self.best - self.min_delta:
            self.best = loss
        self.num_bad_epochs = 0 if better else self.num_bad_epochs + 1
        return better

    @property
    def done(self) -> bool:
        """Whether training should end."""
        return self.num_bad_epochs >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """What load_state_dict needs to go on as if nothing had happened."""
        return {"best": self.best, "num_bad_epochs": self.num_bad_epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state_dict was taken."""
        self.best, self.num_bad_epochs = state["best"], state["num_bad_epochs"]


@dataclass
class TrainingState:
    """Everything that changes while a head is trained, and hence all that a checkpoint holds."""

    model: nn.Module
    """a Head, or DistributedDataParallel around one"""
    optimizer: torch.optim.Optimizer
    scheduler: ReduceLROnPlateau
    stopping: EarlyStopping
    epoch: int = 0
    """epochs that are finished"""
    history: list[dict[str, float]] = field(default_factory=list)
    """one row of figures for each finished epoch"""

    @property
    def head(self) -> Head:
        """The head itself, without what DistributedDataParallel puts around it."""
        head = self.model.module if isinstance(self.model, nn.parallel.DistributedDataParallel) else self.model
        assert isinstance(head, Head)
        return head

    @property
    def parameter_names(self) -> list[str]:
        """Names of the head's parameters, in the order in which the optimizer numbers them."""
        names = {id(value): name for name, value in self.head.named_parameters()}
        return [names[id(value)] for group in self.optimizer.param_groups for value in group["params"]]

    def end_epoch(self, trained: dict[str, float], validated: dict[str, float]) -> bool:
        """Note the epoch's figures, lower the learning rate if it is time; whether this epoch is the best so far."""
        row = {"epoch": self.epoch, "lr": self.optimizer.param_groups[0]["lr"], **trained}
        self.history.append(row | {f"val_{name}": value for name, value in validated.items()})
        self.epoch += 1
        self.scheduler.step(validated["loss"])
        return self.stopping.update(validated["loss"])


def start_training(model: nn.Module, config: TrainingConfig) -> TrainingState:
    """AdamW, ReduceLROnPlateau and early stopping for a head that is on its device already (thesis, training)."""
    temperature = [value for name, value in model.named_parameters() if name.endswith("log_temperature")]
    weights = [value for name, value in model.named_parameters() if not name.endswith("log_temperature")]
    # Weight decay would pull the temperature towards 1.
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": temperature, "weight_decay": 0.0}]
    # Fused: one pass over the weights instead of a dozen, a fifth of a step of the thesis's head on a CPU.
    optimizer = torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    scheduler = ReduceLROnPlateau(optimizer, factor=config.lr_factor, patience=config.lr_patience)
    return TrainingState(model, optimizer, scheduler, EarlyStopping(config.patience, config.min_delta))


def train_epoch(
    state: TrainingState, features: Features, pairs: Pairs, config: TrainingConfig, seed: int
) -> dict[str, float]:
    """One pass over the pairs: loss, triplet_accuracy, temperature, num_pairs, seconds; the same on every rank.

    Random numbers depend on (seed, epoch, rank), so a resumed run repeats the run that was never stopped. With loss
    triplet, pairs without a negative are left out. With infonce, triplet_accuracy counts the next pair's version in
    the batch as the negative, which costs nothing.
    """
    began = time.perf_counter()
    rank, world_size = rank_and_size()
    torch.manual_seed(int(np.random.SeedSequence([seed, state.epoch, rank]).generate_state(1)[0]))
    pairs = pairs.to_train(config)
    if len(pairs) == 0:
        raise ValueError(f"training.loss = {config.loss}: there is not one pair to train on")
    plan = plan_epoch(pairs, config, state.epoch, seed)
    if (fewest := len(plan[-1].pictures)) < world_size:
        raise ValueError(f"training.num_workers = {world_size}: too many to share batches of {fewest} pairs")
    device = next(state.model.parameters()).device
    step = _Step(state, config, device)
    state.model.train()
    shares = (batch.share(rank, world_size) for batch in plan)
    loaded = zip(plan, _prefetch(lambda rows: features.gather(rows, device), shares), strict=True)
    figures = torch.stack([step(inputs, batch) for batch, inputs in loaded])
    loss, accuracy = figures.double().mean(0).tolist()
    return {
        "loss": loss,
        "triplet_accuracy": accuracy,
        "temperature": state.head.temperature.item(),
        "num_pairs": len(pairs),
        "seconds": time.perf_counter() - began,
    }


class _Step:
    """One step of the optimizer on this rank's share of a batch."""

    def __init__(self, state: TrainingState, config: TrainingConfig, device: torch.device) -> None:
        self.state, self.config, self.device = state, config, device
        mixed = config.mixed_precision and device.type == "cuda"
        dtype = torch.float16 if mixed and not torch.cuda.is_bf16_supported() else torch.bfloat16
        self.autocast = torch.autocast(device.type, dtype=dtype, enabled=mixed)
        # Only float16 needs its gradients scaled. The scale is found anew each epoch, so checkpoints need not keep it.
        self.scaler = torch.amp.GradScaler(device.type, enabled=mixed and dtype == torch.float16)

    def __call__(self, inputs: dict[str, Tensor], batch: Batch) -> Tensor:
        """Learn from a batch, of which the inputs are this rank's share; its loss and triplet accuracy, (2,)."""
        images, *captions = [self._gather(each, batch) for each in self._embed(inputs)]
        loss = self._loss(images, captions, torch.from_numpy(batch.groups).to(self.device))
        self.state.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.state.optimizer)
        self.scaler.update()
        self.state.head.clip_temperature()
        return torch.stack([loss, _triplet_accuracy(images.pairs)]).detach()

    def _embed(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """This rank's pictures, (rows, D), and then as many captions if there are any."""
        with self.autocast:
            embedded = [self.state.model(**inputs)]
            if "caption" in inputs:
                embedded.append(self.state.model(inputs["caption"]))
        return [each.float() for each in embedded]

    def _gather(self, share: Tensor, batch: Batch) -> _Embedded:
        """The joint batch from the shares of all ranks."""
        num_pairs, num_pictures = batch.pictures.shape
        rank, world_size = rank_and_size()
        mine = len(np.array_split(batch.pictures, world_size)[rank]) * num_pictures
        pairs = gather_rows(share[:mine].unflatten(0, (-1, num_pictures)), num_pairs)
        return _Embedded(pairs, gather_rows(share[mine:], len(batch.hard)))

    def _loss(self, images: _Embedded, captions: list[_Embedded], groups: Tensor) -> Tensor:
        """The thesis's sum: pictures, plus caption_weight times captions and picture-caption pairs."""
        losses = [_contrast(images, self.state.head.temperature, groups, self.config)]
        for texts in captions:
            # A picture with its own caption, against the caption of the negative where there is one.
            mixed = texts._replace(pairs=torch.cat([images.pairs[:, :1], texts.pairs[:, ::2]], dim=1))
            for compared in (texts, mixed):
                loss = _contrast(compared, self.state.head.temperature, groups, self.config)
                losses.append(self.config.caption_weight * loss)
        return torch.stack(losses).sum()


class _Embedded(NamedTuple):
    """A joint batch of embeddings: anchors, positives and perhaps negatives (B, 2 or 3, D), hard negatives (h, D)."""

    pairs: Tensor
    hard: Tensor


def _contrast(embedded: _Embedded, temperature: Tensor, groups: Tensor, config: TrainingConfig) -> Tensor:
    """config.loss of a joint batch, whose positives and hard negatives show groups (B + h,)."""
    anchor, positive, *negative = embedded.pairs.unbind(1)
    if config.loss == "triplet":
        return triplet_loss(anchor, positive, negative[0], temperature)
    candidates = torch.cat([positive, embedded.hard])
    return info_nce(anchor, candidates, temperature, groups if config.mask_groups else None, config.both_ways)


def _triplet_accuracy(embeddings: Tensor) -> Tensor:
    """Share of anchors that are closer to the positive than to the negative, or else the next row's positive."""
    anchor, positive = embeddings[:, 0], embeddings[:, 1]
    negative = embeddings[:, 2] if embeddings.shape[1] == 3 else positive.roll(1, 0)
    return ((anchor * (positive - negative)).sum(-1).sign() + 1).mean() / 2


@torch.no_grad()
def validate(state: TrainingState, features: Features, pairs: Pairs, config: TrainingConfig) -> dict[str, float]:
    """The loss on all pairs, in full precision, and metrics.summary of the triplets among them, if there are any.

    The loss is that of the pictures alone, over batches that are the same each time. Each picture is embedded once.
    """
    triplets = pairs.with_negative()
    pairs = pairs.to_train(config)
    if len(pairs) == 0:
        raise ValueError("there is not one pair to validate with")
    rows = np.unique(np.concatenate([pairs.pictures(config), triplets.negative]))
    embeddings = embed_rows(state.head, features, rows)

    def embedded(wanted: Rows) -> Tensor:
        return embeddings[torch.from_numpy(np.searchsorted(rows, wanted)).to(embeddings.device)]

    losses = []
    for batch in plan_epoch(pairs, config, epoch=0, seed=0):
        groups = torch.from_numpy(batch.groups).to(embeddings.device)
        found = _Embedded(embedded(batch.pictures), embedded(batch.hard))
        losses.append(_contrast(found, state.head.temperature, groups, config))
    loss = {"loss": torch.stack(losses).mean().item()}
    if len(triplets) == 0:
        return loss
    anchor = embedded(triplets.anchor)
    others = (triplets.positive, triplets.negative)
    positive, negative = ((anchor * embedded(other)).sum(-1).cpu().numpy() for other in others)
    return loss | summary(positive, negative)


@torch.no_grad()
def embed_rows(head: Head, features: Features, rows: Rows, batch_size: int = 256) -> Tensor:
    """Embeddings (len(rows), D) float32 of some pictures, on the head's device, in full precision and without dropout.

    In a torch.distributed group the ranks share the work, and each gets all of it.
    """
    rank, world_size = rank_and_size()
    device = next(head.eval().parameters()).device
    mine = np.array_split(rows, world_size)[rank]
    parts = np.array_split(mine, max(1, math.ceil(len(mine) / batch_size)))
    loaded = _prefetch(lambda part: features.gather(part, device), parts)
    return gather_rows(torch.cat([head(**batch) for batch in loaded]), len(rows))


def statistics(features: Features, rows: Rows, max_token_rows: int = 1024) -> Statistics:
    """Mean of pooled over rows, and mean and standard deviation of each token channel over some rows, evenly spaced.

    Rows are those of the training set alone, paintings and versions. 1,024 pictures of 49 patches give 50,000 tokens.
    """
    if len(rows) == 0:
        raise ValueError("there is not one picture to train on")
    pooled = _moments(features, rows, "pooled")
    if features.sizes.token_size is None:
        return Statistics(pooled[0])
    return Statistics(pooled[0], *_moments(features, rows[:: math.ceil(len(rows) / max_token_rows)], "tokens"))


def _moments(features: Features, rows: Rows, name: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, summed in float64."""
    total, squares, count = torch.zeros(()), torch.zeros(()), 0
    for part in np.array_split(rows, math.ceil(len(rows) / 256)):
        values = features.gather(part)[name].double().flatten(0, -2)
        total, squares, count = total + values.sum(0), squares + (values**2).sum(0), count + len(values)
    mean = total / count
    return mean.float(), (squares / count - mean**2).clamp(min=0).sqrt().float()


def save_checkpoint(folder: str | Path, state: TrainingState) -> None:
    """Write all of the state: tensors as checkpoint.safetensors, by name, and numbers as checkpoint.json."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = state.optimizer.state_dict()
    names = state.parameter_names
    tensors = {f"model.{name}": value for name, value in state.head.state_dict().items()}
    for index, moments in optimizer["state"].items():
        tensors |= {f"{moment}.{names[index]}": value for moment, value in moments.items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "checkpoint.safetensors")
    numbers = {
        "epoch": state.epoch,
        "history": state.history,
        "param_groups": optimizer["param_groups"],
        "scheduler": state.scheduler.state_dict(),
        "stopping": state.stopping.state_dict(),
    }
    (folder / "checkpoint.json").write_text(json.dumps(numbers, indent=1))


def load_checkpoint(folder: str | Path, state: TrainingState) -> None:
    """Put a state, made by start_training from the same settings, where save_checkpoint left it, bit for bit."""
    numbers = json.loads((Path(folder) / "checkpoint.json").read_text())
    values: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(Path(folder) / "checkpoint.safetensors").items():
        kind, name = key.split(".", 1)
        values.setdefault(kind, {})[name] = value
    state.head.load_state_dict(values.pop("model"))
    moments = {
        index: {moment: named[name] for moment, named in values.items() if name in named}
        for index, name in enumerate(state.parameter_names)
    }
    state.optimizer.load_state_dict({"state": moments, "param_groups": numbers["param_groups"]})
    state.scheduler.load_state_dict(numbers["scheduler"])
    state.stopping.load_state_dict(numbers["stopping"])
    state.epoch, state.history = numbers["epoch"], numbers["history"]


def _prefetch(load: Callable[[Rows], dict[str, Tensor]], items: Iterable[Rows]) -> Iterator[dict[str, Tensor]]:
    """load(item) of each, one ahead of the caller, so that the card does not wait for memory to be copied."""
    with ThreadPoolExecutor(1) as thread:
        ahead: Future[dict[str, Tensor]] | None = None
        for item in items:
            ready, ahead = ahead, thread.submit(load, item)
            if ready is not None:
                yield ready.result()
        if ahead is not None:
            yield ahead.result()
