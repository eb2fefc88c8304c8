"""Training a siamese head on cached features: batches, one epoch, validation, early stopping, checkpoints. torch only.

Every function works in one process and in each process of a torch.distributed group, where all must call it.
Shapes: B rows, D width of the pooled features, N tokens of width T.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from artsim.config import TrainingConfig
from artsim.metrics import summary
from artsim.siamese import Head, Sizes, Statistics, gather_rows, info_nce, rank_and_size, triplet_loss

Rows = NDArray[np.int64]


class Features:
    """Cached embeddings of many pictures, left in the chunks that they came in (views of shared memory, never copied).

    pooled: chunks (n, D) float32; tokens: (n, N, T) float16; captions: (n, D) float32. Row numbers run through all
    chunks. Hand over only what the head looks at: tokens for preset tokens, captions for caption_fusion.
    """

    def __init__(
        self,
        pooled: Sequence[np.ndarray],
        tokens: Sequence[np.ndarray] | None = None,
        captions: Sequence[np.ndarray] | None = None,
    ) -> None:
        self._columns = {"pooled": pooled}
        self._columns |= {name: c for name, c in (("tokens", tokens), ("caption", captions)) if c is not None}
        lengths = [len(chunk) for chunk in pooled]
        for name, chunks in self._columns.items():
            if [len(chunk) for chunk in chunks] != lengths:
                raise ValueError(f"chunks of {name} must be as many and as long as those of pooled")
            if len({chunk.shape[1:] for chunk in chunks}) != 1:
                raise ValueError(f"chunks of {name} must be of one width, and there must be one at least")
        if captions is not None and captions[0].shape[1] != pooled[0].shape[1]:
            raise ValueError(f"captions are {captions[0].shape[1]} wide, pictures {pooled[0].shape[1]}: must be alike")
        self._starts = np.cumsum([0, *lengths])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def sizes(self) -> Sizes:
        """Widths, as build_head takes them."""
        tokens = self._columns["tokens"][0].shape if "tokens" in self._columns else (None, None, None)
        return Sizes(self._columns["pooled"][0].shape[1], token_size=tokens[2], num_tokens=tokens[1])

    def gather(self, rows: Rows, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """Copy some rows to a device: pooled (B, D), and tokens (B, N, T) and caption (B, D) where there are any."""
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()}..{rows.max()} of {len(self)}")
        chunk_of = np.searchsorted(self._starts, rows, side="right") - 1
        places = list(zip(chunk_of.tolist(), (rows - self._starts[chunk_of]).tolist(), strict=True))
        batch = {}
        for name, chunks in self._columns.items():
            out = np.empty((len(rows), *chunks[0].shape[1:]), chunks[0].dtype)
            for i, (chunk, row) in enumerate(places):
                out[i] = chunks[chunk][row]
            batch[name] = torch.from_numpy(out).to(device)
        return batch


@dataclass(frozen=True)
class Pairs:
    """What is compared: (P,) int64 row numbers of Features; negative is -1 where a pair has none.

    Pairs of one group show the same painting, and are never each other's negatives in a batch.
    """

    anchor: Rows
    positive: Rows
    negative: Rows
    group: Rows

    def __post_init__(self) -> None:
        assert len(self.anchor) == len(self.positive) == len(self.negative) == len(self.group)

    def __len__(self) -> int:
        return len(self.anchor)

    def rows(self, config: TrainingConfig) -> Rows:
        """What config.loss compares, (P, 2 or 3): anchor, positive and, for loss triplet, negative."""
        negative = [self.negative] if config.loss == "triplet" else []
        return np.stack([self.anchor, self.positive, *negative], axis=1)

    def with_negative(self) -> Pairs:
        """Those pairs that are triplets."""
        has = self.negative >= 0
        return Pairs(self.anchor[has], self.positive[has], self.negative[has], self.group[has])


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
    optimizer = torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    scheduler = ReduceLROnPlateau(optimizer, factor=config.lr_factor, patience=config.lr_patience)
    return TrainingState(model, optimizer, scheduler, EarlyStopping(config.patience, config.min_delta))


def batches(num_pairs: int, batch_size: int, epoch: int, seed: int) -> list[Rows]:
    """The epoch's global batches: a permutation drawn from (seed, epoch), cut into as many equal parts as it takes.

    No batch is larger than batch_size and sizes differ by one at most, so nothing is dropped and no small rest is
    left. The world's size does not matter: ranks share each batch as np.array_split cuts it.
    """
    order = np.random.default_rng([seed, epoch]).permutation(num_pairs)
    return np.array_split(order, math.ceil(num_pairs / batch_size))


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
    pairs = pairs.with_negative() if config.loss == "triplet" else pairs
    if len(pairs) == 0:
        raise ValueError(f"training.loss = {config.loss}: there is not one pair to train on")
    plan = batches(len(pairs), config.batch_size, state.epoch, seed)
    if len(plan[-1]) < world_size:
        raise ValueError(f"training.num_workers = {world_size}: too many to share batches of {len(plan[-1])} pairs")
    rows, device = pairs.rows(config), next(state.model.parameters()).device
    step = _Step(state, config, rows.shape[1], device)

    def load(batch: Rows) -> dict[str, Tensor]:
        return features.gather(rows[np.array_split(batch, world_size)[rank]].reshape(-1), device)

    state.model.train()
    loaded = zip(plan, _prefetch(load, plan), strict=True)
    figures = torch.stack([step(inputs, torch.from_numpy(pairs.group[batch]).to(device)) for batch, inputs in loaded])
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

    def __init__(self, state: TrainingState, config: TrainingConfig, num_pictures: int, device: torch.device) -> None:
        self.state, self.config, self.num_pictures = state, config, num_pictures
        mixed = config.mixed_precision and device.type == "cuda"
        dtype = torch.float16 if mixed and not torch.cuda.is_bf16_supported() else torch.bfloat16
        self.autocast = torch.autocast(device.type, dtype=dtype, enabled=mixed)
        # Only float16 needs its gradients scaled. The scale is found anew each epoch, so checkpoints need not keep it.
        self.scaler = torch.amp.GradScaler(device.type, enabled=mixed and dtype == torch.float16)

    def __call__(self, inputs: dict[str, Tensor], groups: Tensor) -> Tensor:
        """Learn from a batch whose groups (B,) are those of all ranks; its loss and triplet accuracy, (2,)."""
        embeddings = gather_rows(self._embed(inputs), len(groups))
        images, *captions = embeddings.split(self.num_pictures, dim=1)
        loss = self._loss(images, captions, groups)
        self.state.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.state.optimizer)
        self.scaler.update()
        self.state.head.clip_temperature()
        return torch.stack([loss, _triplet_accuracy(images)]).detach()

    def _embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """This rank's pictures, (b, 2 or 3, D), and then as many captions if there are any."""
        with self.autocast:
            embedded = [self.state.model(**inputs)]
            if "caption" in inputs:
                embedded.append(self.state.model(inputs["caption"]))
        return torch.cat([each.float().unflatten(0, (-1, self.num_pictures)) for each in embedded], dim=1)

    def _loss(self, images: Tensor, captions: list[Tensor], groups: Tensor) -> Tensor:
        """The thesis's sum: pictures, plus caption_weight times captions and picture-caption pairs (B, 2 or 3, D)."""
        losses = [_contrast(images, self.state.head.temperature, groups, self.config)]
        for texts in captions:
            # A picture with its own caption, against the caption of the negative where there is one.
            for pictures in (texts, torch.cat([images[:, :1], texts[:, ::2]], dim=1)):
                loss = _contrast(pictures, self.state.head.temperature, groups, self.config)
                losses.append(self.config.caption_weight * loss)
        return torch.stack(losses).sum()


def _contrast(embeddings: Tensor, temperature: Tensor, groups: Tensor, config: TrainingConfig) -> Tensor:
    """config.loss of anchors, positives and for loss triplet negatives, (B, 2 or 3, D)."""
    anchor, positive, *negative = embeddings.unbind(1)
    if config.loss == "triplet":
        return triplet_loss(anchor, positive, negative[0], temperature)
    return info_nce(anchor, positive, temperature, groups)


def _triplet_accuracy(embeddings: Tensor) -> Tensor:
    """Share of anchors that are closer to the positive than to the negative, or else the next row's positive."""
    anchor, positive = embeddings[:, 0], embeddings[:, 1]
    negative = embeddings[:, 2] if embeddings.shape[1] == 3 else positive.roll(1, 0)
    return ((anchor * (positive - negative)).sum(-1).sign() + 1).mean() / 2


@torch.no_grad()
def validate(state: TrainingState, features: Features, pairs: Pairs, config: TrainingConfig) -> dict[str, float]:
    """The loss on all pairs, in full precision, and metrics.summary of the triplets among them.

    The loss is that of the pictures alone, over batches that are the same each time. Each picture is embedded once.
    """
    triplets = pairs.with_negative()
    pairs = triplets if config.loss == "triplet" else pairs
    if len(triplets) == 0:
        raise ValueError("there is not one triplet to validate with")
    rows = np.unique(np.concatenate([pairs.anchor, pairs.positive, triplets.negative]))
    embeddings = embed_rows(state.head, features, rows)

    def embedded(wanted: Rows) -> Tensor:
        return embeddings[torch.from_numpy(np.searchsorted(rows, wanted)).to(embeddings.device)]

    losses = []
    for batch in batches(len(pairs), config.batch_size, epoch=0, seed=0):
        groups = torch.from_numpy(pairs.group[batch]).to(embeddings.device)
        losses.append(_contrast(embedded(pairs.rows(config)[batch]), state.head.temperature, groups, config))
    anchor = embedded(triplets.anchor)
    others = (triplets.positive, triplets.negative)
    positive, negative = ((anchor * embedded(other)).sum(-1).cpu().numpy() for other in others)
    return {"loss": torch.stack(losses).mean().item(), **summary(positive, negative)}


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


def statistics(features: Features, rows: Rows, max_token_rows: int = 4096) -> Statistics:
    """Mean of pooled over rows, and mean and standard deviation of each token channel over some rows, evenly spaced.

    Rows are those of the training set alone, paintings and versions. 4,096 pictures of 49 patches give 200,000 tokens.
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
