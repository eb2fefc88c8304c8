"""The two siamese heads on frozen features, their losses over all ranks, and a trained head on disk. torch only.

Shapes: B rows, D width of the pooled features, N tokens of width T on a square grid, M model_size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from artsim import UserError
from artsim.config import HeadConfig

FORMAT = 1
_SMALLEST_STD = 1e-6


class ModelError(UserError, ValueError):
    """A head that cannot be built or loaded; the message is one sentence that says why."""


class Sizes(NamedTuple):
    """What features measure; the token fields are None without tokens. `build_head(config, *sizes)`."""

    pooled_size: int
    token_size: int | None = None
    num_tokens: int | None = None


class Statistics(NamedTuple):
    """What the features of the training set look like on average; the token fields are None without tokens."""

    pooled_mean: Tensor
    """(D,) float32"""
    token_mean: Tensor | None = None
    """(T,) float32, over all patches"""
    token_std: Tensor | None = None
    """(T,) float32, over all patches"""


class Head(nn.Module):
    """What both heads have: their settings and sizes, and a temperature that is learned within bounds."""

    def __init__(self, config: HeadConfig, pooled_size: int, token_size: int | None, num_tokens: int | None) -> None:
        super().__init__()
        self.config = config
        self.sizes = Sizes(pooled_size, token_size, num_tokens)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))

    @property
    def temperature(self) -> Tensor:
        """The losses' temperature (), never outside the bounds.

        The gradient passes the bounds as if they were not there, so a temperature at a bound can come back.
        """
        inside = self.log_temperature.detach().clamp(*self._bounds)
        return (inside + (self.log_temperature - self.log_temperature.detach())).exp()

    @torch.no_grad()
    def clip_temperature(self) -> None:
        """Put the parameter back within its bounds: after each step, or it would wander off and take as long back."""
        self.log_temperature.clamp_(*self._bounds)

    @property
    def _bounds(self) -> tuple[float, float]:
        return math.log(self.config.min_temperature), math.log(self.config.max_temperature)

    def set_statistics(self, statistics: Statistics) -> None:
        """Told once, before training. The thesis's head takes the features as they are and keeps nothing."""


class PooledHead(Head):
    """The thesis's head: a transformer over a sequence of one, the pooled embedding, and a projection.

    With config.caption_fusion an MLP first mixes the embedding of the picture's caption into that of the picture.
    Attention over one token is a linear layer, whatever the number of heads: where num_heads does not divide D,
    their greatest common divisor serves.
    """

    def __init__(self, config: HeadConfig, pooled_size: int, token_size: int | None, num_tokens: int | None) -> None:
        super().__init__(config, pooled_size, token_size, num_tokens)
        size, dropout = pooled_size, config.dropout
        self.fusion = _mlp(2 * size, size, size, dropout) if config.caption_fusion else None
        self.norm = nn.LayerNorm(size)
        layer = nn.TransformerEncoderLayer(
            size, math.gcd(config.num_heads, size), config.hidden_size, dropout, "gelu", batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.num_layers, enable_nested_tensor=False)
        self.projection = _mlp(size, size, size, dropout)

    def forward(self, pooled: Tensor, tokens: Tensor | None = None, caption: Tensor | None = None) -> Tensor:
        """Embed pooled (B, D), fused with caption (B, D) if given -> (B, D) of length 1; tokens are not looked at."""
        if caption is not None:
            if self.fusion is None:
                raise ModelError("this head was built without head.caption_fusion: it takes no captions")
            pooled = self.fusion(torch.cat([pooled, caption], dim=-1))
        sequence = self.encoder(self.norm(pooled)[:, None])
        return F.normalize(self.projection(sequence[:, 0]).float(), dim=-1)


class TokensHead(Head):
    """Attention over patch tokens that starts as the identity of the frozen embedding.

    output = normalize(centred + W f(centred, tokens)), centred = normalize(pooled - mean of the training set), and W
    starts at zero: training can only add to what the frozen encoder knows. (Without config.centred the mean stays in,
    without config.starts_as_identity W starts at random.) A query made from `centred` reads the
    tokens in `num_layers` rounds of cross-attention (a TransformerDecoder: the work grows with N, not N squared).
    Tokens know their place on the grid of the squashed content, hence nothing of the picture's proportions.
    """

    pooled_mean: Tensor
    token_mean: Tensor
    token_scale: Tensor
    positions: Tensor

    def __init__(self, config: HeadConfig, pooled_size: int, token_size: int | None, num_tokens: int | None) -> None:
        super().__init__(config, pooled_size, token_size, num_tokens)
        if token_size is None or num_tokens is None:
            raise ModelError("head.preset = tokens needs token features: set embed.tokens, or head.preset = pooled")
        size = config.model_size
        self.register_buffer("pooled_mean", torch.zeros(pooled_size))
        self.register_buffer("token_mean", torch.zeros(token_size))
        self.register_buffer("token_scale", torch.ones(token_size))
        self.register_buffer("positions", grid_positions(num_tokens, size), persistent=False)
        self.norm = nn.LayerNorm(pooled_size)
        self.query = nn.Linear(pooled_size, size)
        self.memory = nn.Linear(token_size, size)
        layer = nn.TransformerDecoderLayer(
            size, config.num_heads, config.hidden_size, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, config.num_layers, nn.LayerNorm(size))
        self.residual = _mlp(pooled_size + size, config.hidden_size, pooled_size, config.dropout)
        if config.starts_as_identity:
            for weights in self.residual[-1].parameters():
                nn.init.zeros_(weights)

    @torch.no_grad()
    def set_statistics(self, statistics: Statistics) -> None:
        """Keep what is taken off the features. A channel that never changed in training is left out for good."""
        if statistics.token_mean is None or statistics.token_std is None:
            raise ModelError("head.preset = tokens needs the statistics of the tokens too")
        if self.config.centred:
            self.pooled_mean.copy_(statistics.pooled_mean)
        self.token_mean.copy_(statistics.token_mean)
        std = statistics.token_std
        self.token_scale.copy_(torch.where(std > _SMALLEST_STD, 1 / std, torch.zeros_like(std)))

    def forward(self, pooled: Tensor, tokens: Tensor | None = None, caption: Tensor | None = None) -> Tensor:
        """Embed pooled (B, D) and tokens (B, N, T) -> (B, D) of length 1. Captions are not looked at."""
        if tokens is None:
            raise ModelError("head.preset = tokens needs the tokens of each picture")
        centred = F.normalize(pooled.float() - self.pooled_mean, dim=-1)
        memory = self._remember(tokens) + self.positions
        start = self.norm(centred)
        seen = self.decoder(self.query(start)[:, None], memory)[:, 0]
        residual = self.residual(torch.cat([start, seen], dim=-1))
        return F.normalize(centred + residual.float(), dim=-1)

    def _remember(self, tokens: Tensor) -> Tensor:
        """self.memory of the standardised tokens (B, N, T) -> (B, N, M), without a standardised copy of all of them."""
        weight = self.memory.weight * self.token_scale
        # In full precision: bfloat16 would drown the channels whose mean is far above their deviation.
        with torch.autocast(tokens.device.type, enabled=False):
            return F.linear(tokens.float(), weight, self.memory.bias - weight @ self.token_mean)


def build_head(config: HeadConfig, pooled_size: int, token_size: int | None, num_tokens: int | None) -> Head:
    """A fresh head of config.preset for features of these sizes; None for token sizes where there are none."""
    head = {"pooled": PooledHead, "tokens": TokensHead}[config.preset]
    return head(config, pooled_size, token_size, num_tokens)


def grid_positions(num_tokens: int, size: int) -> Tensor:
    """Where each patch lies, (N, size): sines and cosines of its row and column (2-D sincos; Chen et al. 2021)."""
    side = math.isqrt(num_tokens)
    if side * side != num_tokens:
        raise ModelError(f"num_tokens = {num_tokens}: tokens must fill a square grid, so their number is a square")
    frequencies = 10_000.0 ** (-torch.arange(size // 4) / (size // 4))
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [axis.reshape(-1, 1) * frequencies for axis in (rows, columns)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)


def _mlp(size: int, hidden: int, out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, out))


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, temperature: Tensor) -> Tensor:
    """The thesis's loss of embeddings (B, D), mean over rows: -log(exp(sp/t) / (exp(sp/t) + exp(sn/t)))."""
    # The same as log(1 + exp((sn - sp) / t)), which softplus computes without over- or underflow.
    return F.softplus(((anchor * negative).sum(-1) - (anchor * positive).sum(-1)) / temperature).mean()


def info_nce(
    anchor: Tensor, candidates: Tensor, temperature: Tensor, groups: Tensor | None = None, both_ways: bool = True
) -> Tensor:
    """In-batch contrast of embeddings, anchor to positive and, both ways, back (van den Oord et al. 2018; CLIP).

    anchor (B, D); candidates (B + h, D): the positives, and then h hard negatives, which every anchor is told from too.
    What shares a value of groups (B + h,) int64 shows the same painting, and is not each other's negative.
    """
    num_pairs = len(anchor)
    similarity = anchor @ candidates.T / temperature
    if groups is not None:
        same = groups[:num_pairs, None] == groups[None, :]
        similarity = similarity.masked_fill(same.fill_diagonal_(False), -torch.inf)
    target = torch.arange(num_pairs, device=anchor.device)
    forth = F.cross_entropy(similarity, target)
    return (forth + F.cross_entropy(similarity[:, :num_pairs].T, target)) / 2 if both_ways else forth


class _AllGather(torch.autograd.Function):
    """Rows of all ranks, joined; every rank must go on to compute the same loss from them."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        # Shares differ by one row at most, but all_gather wants them equal.
        padded = torch.cat([share, share.new_zeros(max(sizes) - len(share), *share.shape[1:])])
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # All ranks hold this same gradient. DistributedDataParallel takes the mean over ranks, the joint batch wants
        # the sum over its shares: so each share counts world_size times.
        return gradient.split(ctx.sizes)[dist.get_rank()] * len(ctx.sizes), None


def gather_rows(share: Tensor, num_rows: int) -> Tensor:
    """The joint batch (num_rows, ...) of which each rank holds its share, as np.array_split cuts it, in rank order.

    Gradients flow back such that their mean over ranks, as DistributedDataParallel takes it, is the gradient of the
    loss of the joint batch. In one process the batch is the share. A share may be empty.
    """
    _, world_size = rank_and_size()
    if world_size == 1 or num_rows == 0:
        return share
    sizes = [len(part) for part in np.array_split(np.empty(num_rows), world_size)]
    return _AllGather.apply(share, sizes)


def rank_and_size() -> tuple[int, int]:
    """This process's rank and the number of processes that train together; (0, 1) where it trains alone."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def save_model(folder: str | Path, head: Head, info: Mapping[str, Any] | None = None) -> None:
    """Write a head as model.safetensors and config.json, with whatever else (JSON) is worth knowing about it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in head.state_dict().items()}, folder / "model.safetensors")
    config = {
        "format": FORMAT,
        "head": head.config.model_dump(),
        "sizes": head.sizes._asdict(),
        "info": dict(info or {}),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def load_model(folder: str | Path) -> tuple[Head, dict[str, Any]]:
    """A head as it was saved, ready to score on the CPU, and its `info`; ModelError where the folder is broken."""
    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text())
        if config["format"] != FORMAT:
            raise ModelError(f"{folder}: format {config['format']}, but this version of ArtSim reads {FORMAT}")
        head = build_head(HeadConfig(**config["head"]), **config["sizes"])
        head.load_state_dict(load_file(folder / "model.safetensors"))
    except OSError as error:
        raise ModelError(f"{folder}: not a model folder, {error.filename or error} cannot be read") from error
    except (
        SafetensorError,
        RuntimeError,
        TypeError,
        KeyError,
        ValidationError,
        UnicodeDecodeError,
        JSONDecodeError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: a broken model folder ({type(error).__name__}: {reason})") from error
    return head.eval(), config["info"]
