"""The two heads, the losses against plain double loops, and heads on disk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from artsim.config import HeadConfig
from artsim.siamese import (
    Head,
    ModelError,
    Statistics,
    TokensHead,
    build_head,
    info_nce,
    load_model,
    save_model,
    triplet_loss,
)

SMALL = HeadConfig(preset="tokens", model_size=32, hidden_size=48, num_heads=4)


def num_weights(head: Head) -> int:
    return sum(value.numel() for value in head.parameters())


def unit(*shape: int, seed: int = 0) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(values, dim=-1)


def small_head(**changes: object) -> Head:
    torch.manual_seed(0)
    return build_head(SMALL.model_copy(update=changes), pooled_size=20, token_size=12, num_tokens=9)


def test_pooled_has_the_thesis_number_of_weights() -> None:
    temperature = 1
    head = build_head(HeadConfig(preset="pooled"), 512, None, None)
    assert num_weights(head) - temperature == 4_731_904
    assert num_weights(build_head(HeadConfig(preset="pooled", caption_fusion=True), 512, None, None)) == 5_519_361


@pytest.mark.parametrize("width", [512, 30, 7])
def test_pooled_embeds_any_width(width: int) -> None:
    head = build_head(HeadConfig(preset="pooled", hidden_size=16), width, None, None)
    embedded = head(torch.randn(3, width))
    assert embedded.shape == (3, width)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(3))


def test_captions_are_fused_only_where_asked() -> None:
    pooled, caption = torch.randn(2, 16), torch.randn(2, 16)
    head = build_head(HeadConfig(preset="pooled", hidden_size=16, caption_fusion=True), 16, None, None).eval()
    assert not torch.allclose(head(pooled, None, caption), head(pooled))
    with pytest.raises(ModelError, match="caption_fusion"):
        build_head(HeadConfig(preset="pooled", hidden_size=16), 16, None, None)(pooled, None, caption)


def test_tokens_starts_as_the_centred_frozen_embedding_and_learns_from_the_tokens() -> None:
    pooled, tokens, mean = torch.randn(4, 20), torch.randn(4, 9, 12).half(), torch.randn(20)
    head = small_head()
    head.set_statistics(Statistics(mean, torch.zeros(12), torch.ones(12)))
    torch.testing.assert_close(head(pooled, tokens), F.normalize(pooled - mean, dim=-1))
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        head(pooled, tokens)[:, 0].sum().backward()
        optimizer.step()
    assert isinstance(head, TokensHead)
    assert all(value.grad is not None and value.grad.any() for value in head.memory.parameters())
    head.eval()
    assert not torch.allclose(head(pooled, tokens), head(pooled, tokens.flip(1)))  # places matter


def test_without_its_choices_the_mean_stays_and_the_start_is_another() -> None:
    pooled, tokens, mean = torch.randn(4, 20), torch.randn(4, 9, 12), torch.randn(20)
    statistics = Statistics(mean, torch.zeros(12), torch.ones(12))
    kept, random = small_head(centred=False), small_head(starts_as_identity=False)
    for head in (kept, random):
        head.set_statistics(statistics)
    torch.testing.assert_close(kept(pooled, tokens), F.normalize(pooled, dim=-1))
    assert (random.eval()(pooled, tokens) * F.normalize(pooled - mean, dim=-1)).sum(1).max() < 0.99
    assert num_weights(kept) == num_weights(random) == num_weights(small_head())


def test_statistics_are_kept_and_dead_channels_left_out() -> None:
    std = torch.tensor([2.0] * 11 + [0.0])
    head = small_head().eval()
    assert isinstance(head, TokensHead)
    for value in head.residual.parameters():
        torch.nn.init.normal_(value)
    head.set_statistics(Statistics(torch.zeros(20), torch.full((12,), 3.0), std))
    pooled, tokens = torch.randn(1, 20), torch.randn(1, 9, 12)
    changed = tokens.clone()
    changed[..., 11] = 1e4
    torch.testing.assert_close(head(pooled, changed), head(pooled, tokens))
    by_hand = small_head().eval()
    by_hand.load_state_dict(head.state_dict())
    by_hand.set_statistics(Statistics(torch.zeros(20), torch.zeros(12), torch.ones(12)))
    scaled = (tokens - 3) / 2
    scaled[..., 11] = 0
    torch.testing.assert_close(by_hand(pooled, scaled), head(pooled, tokens))


def test_tokens_says_what_it_needs() -> None:
    with pytest.raises(ModelError, match=r"needs token features"):
        build_head(SMALL, 20, None, None)
    with pytest.raises(ModelError, match="num_tokens = 50"):
        build_head(SMALL, 20, 12, 50)
    with pytest.raises(ModelError, match="tokens of each picture"):
        small_head()(torch.randn(1, 20))


@pytest.mark.parametrize("direction", [-1, 1])
def test_temperature_moves_stays_inside_and_comes_back(direction: int) -> None:
    head = small_head(temperature=0.07, min_temperature=0.01, max_temperature=0.5)
    optimizer = torch.optim.AdamW([head.log_temperature], lr=0.3, weight_decay=0.0)

    def push(towards: int) -> float:
        for _ in range(40):
            optimizer.zero_grad()
            (-towards * head.temperature).backward()
            optimizer.step()
            assert 0.01 - 1e-6 <= head.temperature.item() <= 0.5 + 1e-6
            head.clip_temperature()
        return head.temperature.item()

    assert push(direction) == pytest.approx({-1: 0.01, 1: 0.5}[direction])
    optimizer.state.clear()
    assert push(-direction) == pytest.approx({1: 0.01, -1: 0.5}[direction])


def test_triplet_loss_is_the_thesis_formula() -> None:
    anchor, positive, negative = unit(5, 8), unit(5, 8, seed=1), unit(5, 8, seed=2)
    rows = []
    for a, p, n in zip(anchor.numpy(), positive.numpy(), negative.numpy(), strict=True):
        near, far = math.exp(a @ p / 0.07), math.exp(a @ n / 0.07)
        rows.append(-math.log(near / (near + far)))
    ours = triplet_loss(anchor, positive, negative, torch.tensor(0.07, dtype=torch.float64))
    assert ours.item() == pytest.approx(np.mean(rows), abs=1e-12)


def test_triplet_loss_neither_overflows_nor_underflows() -> None:
    a = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = triplet_loss(a, -a.detach(), a.detach(), torch.tensor(1e-3))
    loss.backward()
    assert loss.item() == pytest.approx(2000)
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 2, 2, 1, 7, 0]])
@pytest.mark.parametrize("num_hard", [0, 3])
def test_one_way_and_hard_negatives_equal_a_double_loop(num_hard: int, groups: list[int] | None) -> None:
    anchor, candidates, temperature = unit(6, 8).numpy(), unit(6 + num_hard, 8, seed=1).numpy(), 0.1
    forth = back = 0.0
    for i in range(6):
        others = [j for j in range(6 + num_hard) if i == j or groups is None or groups[i] != groups[j]]
        terms = [math.exp(anchor[i] @ candidates[j] / temperature) for j in others]
        back_terms = [math.exp(anchor[j] @ candidates[i] / temperature) for j in others if j < 6]
        match = math.exp(anchor[i] @ candidates[i] / temperature)
        forth -= math.log(match / sum(terms)) / 6
        back -= math.log(match / sum(back_terms)) / 6
    inputs = torch.from_numpy(anchor), torch.from_numpy(candidates), torch.tensor(temperature, dtype=torch.float64)
    known = None if groups is None else torch.tensor(groups[: 6 + num_hard])
    assert info_nce(*inputs, known).item() == pytest.approx((forth + back) / 2, abs=1e-12)
    assert info_nce(*inputs, known, both_ways=False).item() == pytest.approx(forth, abs=1e-12)


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 2, 2], [0] * 6])
def test_info_nce_equals_a_double_loop(groups: list[int] | None) -> None:
    anchor, positive, temperature = unit(6, 8).numpy(), unit(6, 8, seed=1).numpy(), 0.1
    total = 0.0
    for queries, gallery in ((anchor, positive), (positive, anchor)):
        for i in range(6):
            terms = [
                math.exp(queries[i] @ gallery[j] / temperature)
                for j in range(6)
                if i == j or groups is None or groups[i] != groups[j]
            ]
            total -= math.log(math.exp(queries[i] @ gallery[i] / temperature) / sum(terms)) / 6
    ours = info_nce(
        torch.from_numpy(anchor),
        torch.from_numpy(positive),
        torch.tensor(temperature, dtype=torch.float64),
        None if groups is None else torch.tensor(groups),
    )
    assert ours.item() == pytest.approx(total / 2, abs=1e-12)


@pytest.mark.parametrize("preset", ["pooled", "tokens"])
def test_a_saved_head_embeds_the_same(tmp_path: Path, preset: str) -> None:
    head = small_head(preset=preset).eval()
    for value in head.parameters():
        torch.nn.init.normal_(value, std=0.1) if value.dim() else None
    head.set_statistics(Statistics(torch.randn(20), torch.randn(12), torch.rand(12) + 0.5))
    save_model(tmp_path / "m", head, {"encoder": "measured"})
    loaded, info = load_model(tmp_path / "m")
    pooled, tokens = torch.randn(3, 20), torch.randn(3, 9, 12)
    assert torch.equal(loaded(pooled, tokens), head(pooled, tokens))
    assert info == {"encoder": "measured"}
    assert loaded.config == head.config


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("model.safetensors", None),
        ("model.safetensors", b"not tensors"),
        ("config.json", None),
        ("config.json", b"{"),
        ("config.json", b"\xff"),
        ("config.json", b"[]"),
        ("config.json", b'{"format": 9}'),
        ("config.json", b'{"format": 1, "head": {"colour": 1}, "sizes": {}}'),
        (
            "config.json",
            b'{"format": 1, "head": {}, "sizes": {"pooled_size": 8, "token_size": 8, "num_tokens": 4}, "info": {}}',
        ),
    ],
)
def test_a_broken_folder_is_one_clear_sentence(tmp_path: Path, name: str, contents: bytes | None) -> None:
    save_model(tmp_path, small_head())
    (tmp_path / name).unlink() if contents is None else (tmp_path / name).write_bytes(contents)
    with pytest.raises(ModelError, match=str(tmp_path)) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)
