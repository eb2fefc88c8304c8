"""Versions follow approach and prompt, stay inside the box, and depend on their own row alone."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from artsim.command import LOCAL_PROFILE, load_config
from artsim.config import APPROACHES
from artsim.images import Box, crop_box, decode_jpeg, encode_jpeg
from artsim.schemas import Batch, row_seed
from artsim.stages.generate import COLOURS, RECIPES, Generate
from artsim.stages.prompt import PAIRS, TEXTS

SIZE = 192
WIDE, TALL = (0, 48, 192, 96), (56, 0, 80, 192)
ALL = [(level, approach, word) for level in RECIPES for approach in RECIPES[level] for word in RECIPES[level][approach]]
LOCAL = load_config(LOCAL_PROFILE).generate


def painting(box: Box) -> bytes:
    """Hills of several colours below a sky with a sun, in a black square."""
    _, _, width, height = box
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    content = np.stack([140 + 60 * y, 170 - 20 * y, 220 - 60 * y], -1)
    content[y > 0.5 + 0.15 * np.sin(7 * x)] = (70, 110, 50)
    content[y > 0.75 - 0.12 * np.sin(5 * x + 2)] = (120, 70, 40)
    content[(x - 0.7) ** 2 + (y - 0.22) ** 2 < 0.012] = (250, 230, 150)
    square = np.zeros((SIZE, SIZE, 3), np.uint8)
    crop_box(square, box)[:] = content
    return encode_jpeg(square, 95)


def rows(wanted: Sequence[tuple[str, str, str]], box: Box = WIDE) -> Batch:
    """A batch from (level, approach, prompt), one painting in all of them."""
    columns = [np.array(column, object) for column in zip(*wanted, strict=True)]
    batch = dict(zip(("level", "approach", "prompt"), columns, strict=True))
    ids = np.array([f"Genre/{k}" for k in range(len(wanted))], object)
    images = np.full(len(wanted), painting(box), object)
    boxes = np.array([box] * len(wanted), np.int32)
    return batch | {"id": ids, "variant": np.zeros(len(wanted), np.int32), "image": images, "box": boxes}


def generate(batch: Batch, **settings: float) -> Batch:
    return Generate(LOCAL.model_copy(update={"size": SIZE, **settings}), seed=0)(batch)


def contents(batch: Batch) -> np.ndarray:
    """What lies in the boxes (B, H, W, 3) float, 0..1."""
    pairs = zip(batch["image"], batch["box"], strict=True)
    return np.stack([crop_box(decode_jpeg(data), box) for data, box in pairs]) / 255


def test_every_approach_and_colour_of_the_prompts_is_known() -> None:
    assert {level: tuple(recipes) for level, recipes in RECIPES.items()} == APPROACHES
    assert {colour for pair in PAIRS for colour in pair} <= set(COLOURS)


def test_each_recipe_has_a_lead_that_asks_for_it() -> None:
    for level, approach, word in ALL:
        assert any(f" {word}" in f" {lead}" for lead in TEXTS[level][approach].leads), (level, approach, word)


@pytest.mark.parametrize("box", [WIDE, TALL])
def test_every_recipe_changes_the_content_and_leaves_the_bars_black(box: Box) -> None:
    batch = rows(ALL, box)
    result = generate(batch)
    change = np.abs(contents(result) - contents(batch)).mean((1, 2, 3))
    radical = batch["level"] == "radical"
    assert change.min() > 0.02, ALL[change.argmin()]
    assert change[radical].mean() > 1.3 * change[~radical].mean()
    spread = contents(result).std((1, 2, 3))
    assert spread.min() > 0.05, ALL[spread.argmin()]
    around = np.ones((SIZE, SIZE), bool)
    left, top, width, height = box
    around[max(0, top - 16) : top + height + 16, max(0, left - 16) : left + width + 16] = False  # beyond JPEG's ringing
    for data in result["image"]:
        assert decode_jpeg(data)[around].max() == 0


def test_a_row_does_not_depend_on_its_batch() -> None:
    batch = rows(ALL)
    whole, order = generate(batch), np.random.default_rng(0).permutation(len(ALL))[:9]
    part = generate({name: column[order] for name, column in batch.items()})
    assert part["image"].tolist() == whole["image"][order].tolist()
    assert part["seed"].tolist() == whole["seed"][order].tolist()
    assert whole["seed"][3] == row_seed(0, "Genre/3", batch["level"][3], 0, "generate")


def test_variants_differ() -> None:
    batch = rows([("moderate", "light", "")] * 2)
    batch["id"][1] = batch["id"][0]
    batch["variant"][1] = 1
    first, second = generate(batch)["image"]
    assert first != second


def test_versions_do_not_tell_the_proportions() -> None:
    """Squashed to one square, versions of one scene in a wide and in a tall box are the same picture."""

    def squashed(box: Box) -> np.ndarray:
        return np.stack([cv2.resize(content, (48, 48), interpolation=cv2.INTER_AREA) for content in versions(box)])

    def versions(box: Box) -> np.ndarray:
        return contents(generate(rows(ALL, box)))

    difference = np.abs(squashed(WIDE) - squashed(TALL)).mean((1, 2, 3))
    assert np.median(difference) < 0.03
    assert difference.max() < 0.15, ALL[difference.argmax()]


def test_the_prompt_chooses_recipe_and_palette() -> None:
    prompts = [
        "the scene as a graphite drawing",
        "the scene in a palette of navy and cobalt",
        "crimson and scarlet palette",
    ]
    approaches = [("radical", "medium_change"), ("moderate", "palette"), ("moderate", "palette")]
    batch = rows([(*approach, prompt) for approach, prompt in zip(approaches, prompts, strict=True)])
    grey, blue, red = contents(generate(batch))
    assert np.ptp(grey, axis=-1).mean() < 0.08
    assert (blue[..., 2] - blue[..., 0]).mean() > 0.1
    assert (red[..., 0] - red[..., 2]).mean() > 0.1


@pytest.mark.parametrize("box", [(0, 0, 64, 64), (30, 0, 3, 64)])
def test_every_recipe_copes_with_the_smallest_squares(box: Box) -> None:
    small = Generate(LOCAL.model_copy(update={"size": 64}), seed=0)
    flat = encode_jpeg(np.full((64, 64, 3), 127, np.uint8), 95)
    result = small(rows(ALL, box) | {"image": np.full(len(ALL), flat, object)})
    assert all(error is None for error in result["error"])
    assert all(decode_jpeg(data).shape == (64, 64, 3) for data in result["image"])


def test_strength_says_how_far_it_goes() -> None:
    batch = rows([("moderate", "palette", "palette of crimson and gold"), ("moderate", "technique", "brushwork")])
    near, far = (np.abs(contents(generate(batch, moderate_strength=s)) - contents(batch)).mean() for s in (0.1, 0.5))
    assert far > 1.5 * near


def test_a_row_that_does_not_decode_fails_alone() -> None:
    batch = rows([("moderate", "light", "")] * 3)
    batch["image"] = np.array([b"no picture", batch["image"][1], batch["image"][2][:1500]], object)
    result = generate(batch)
    assert [error and error.split(":")[0] for error in result["error"]] == ["corrupt", None, "corrupt"]
    assert [data is None for data in result["image"]] == [True, False, True]


def test_an_unknown_approach_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="cubism"):
        generate(rows([("radical", "cubism", "")]))
