"""The real pipeline on tiny weights: as plain diffusers, whatever the batch; black bars; what happens when it fails."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionXLImg2ImgPipeline
from huggingface_hub.utils import filter_repo_objects
from PIL import Image

from artsim.checkpoints import CheckpointError
from artsim.config import GenerateConfig, ModelConfig
from artsim.images import Box, crop_box, decode_jpeg, encode_jpeg
from artsim.schemas import Batch, row_seed
from artsim.stages import EngineError, generate_stage
from artsim.stages.diffusion import Refiner, weight_files
from artsim.stages.generate_model import GenerateWithModel
from tests.models.tiny_diffusion import tiny_refiner, tiny_vae

pytestmark = pytest.mark.models
torch.set_num_threads(1)  # two threads that wait for each other on a busy machine take ten times as long

SIZE = 64
WIDE, TALL = (0, 16, 64, 32), (20, 0, 24, 64)
NUM_ROWS = 8
STEPS = {"moderate": 4, "radical": 8}  # of 10, at strengths 0.4 and 0.8
Hook = Callable[[torch.nn.Module, Any, Any], Any]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return tiny_refiner(folder / "refiner"), tiny_vae(folder / "vae")


@pytest.fixture(scope="module")
def stage(folders: tuple[Path, Path]) -> GenerateWithModel:
    return GenerateWithModel(settings(folders), seed=0)


@pytest.fixture(scope="module")
def versions(stage: GenerateWithModel) -> Batch:
    return stage(rows())


def settings(folders: tuple[Path, Path], **changes: Any) -> GenerateConfig:
    refiner, vae = (ModelConfig(id=str(folder)) for folder in folders)
    given = {"model": refiner, "vae": vae, "size": SIZE, "num_inference_steps": 10}
    given |= {"moderate_strength": 0.4, "radical_strength": 0.8}
    return GenerateConfig.model_validate(given | {"jpeg_quality": 100, "workers": {"micro_batch_size": 8}} | changes)


def painting(number: int, box: Box) -> bytes:
    """Soft blots of colour in a black square."""
    blots = np.random.default_rng(number).integers(0, 255, (4, 4, 3), np.uint8)
    square = np.zeros((SIZE, SIZE, 3), np.uint8)
    crop_box(square, box)[:] = np.asarray(Image.fromarray(blots).resize(box[2:], Image.Resampling.BICUBIC))
    return encode_jpeg(square, 95)


def rows(num_rows: int = NUM_ROWS) -> Batch:
    """Both levels of each painting, one after the other; wide and tall paintings in turns."""
    numbers = [row // 2 for row in range(num_rows)]
    boxes = [(WIDE, TALL)[number % 2] for number in numbers]
    texts = {
        "id": [f"Genre/{number}" for number in numbers],
        "level": ["moderate", "radical"] * (num_rows // 2),
        "prompt": [f"a river at dawn, palette of navy and gold, number {row}" for row in range(num_rows)],
        "image": [painting(number, box) for number, box in zip(numbers, boxes, strict=True)],
    }
    batch: Batch = {name: np.array(values, object) for name, values in texts.items()}
    return batch | {"variant": np.zeros(num_rows, np.int32), "box": np.array(boxes, np.int32)}


def part(batch: Batch, chosen: slice) -> Batch:
    return {name: column[chosen] for name, column in batch.items()}


def pixels(batch: Batch) -> np.ndarray:
    """Versions (B, H, W, 3), int so that they can be subtracted."""
    return np.stack([decode_jpeg(data) for data in batch["image"]]).astype(int)


def check_same(made: np.ndarray, expected: np.ndarray) -> None:
    """Sums of another order round a pixel by one level now and then, of which JPEG makes a few levels around it.

    Another row's noise changes a pixel by more than a level on average (test_a_row_has_its_own_noise).
    """
    difference = np.abs(made - expected)
    assert difference.max() <= 8
    assert difference.mean() < 0.01


@contextmanager
def hooked(module: torch.nn.Module, hook: Hook) -> Iterator[None]:
    """The module with a hook that sees each call, and may change what comes out."""
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def spoil(module: torch.nn.Module, given: Any, made: torch.Tensor) -> torch.Tensor:
    return torch.full_like(made, float("nan"))


def test_settings_choose_the_model(folders: tuple[Path, Path]) -> None:
    assert generate_stage(settings(folders)) is GenerateWithModel


def plain(folders: tuple[Path, Path], row: Batch, image: Any, own_vae: bool = False) -> np.ndarray:
    """One version as plain diffusers makes it of a text and of a PIL image or latents (H, W, 3) int."""
    pipe: Any = StableDiffusionXLImg2ImgPipeline.from_pretrained(folders[0], add_watermarker=False)
    if not own_vae:
        pipe.vae = AutoencoderTiny.from_pretrained(folders[1])
    made = pipe(
        prompt=row["prompt"][0],
        image=image,
        strength=0.4 if row["level"][0] == "moderate" else 0.8,
        num_inference_steps=10,
        guidance_scale=7.5,
        generator=torch.Generator().manual_seed(seed_of(row)),
    )
    return np.asarray(made.images[0]).astype(int)


def seed_of(row: Batch) -> int:
    return row_seed(0, row["id"][0], row["level"][0], 0, "generate")


def latents_of(refiner: Refiner, row: Batch) -> torch.Tensor:
    return refiner.encode(np.stack([decode_jpeg(row["image"][0])]), [0])


def in_pieces(refiner: Refiner, row: Batch) -> np.ndarray:
    """One version before JPEG (H, W, 3), from the engine's pieces."""
    text, strength = refiner.text(row["prompt"]), refiner.config.strength(row["level"][0])
    made, finite = refiner.decode(refiner.paint(latents_of(refiner, row), text, [seed_of(row)], strength))
    assert finite.all()
    return made[0]


@pytest.mark.parametrize("number", [0, 3])
def test_a_version_is_what_plain_diffusers_makes(folders: tuple[Path, Path], versions: Batch, number: int) -> None:
    """Float32 of another memory format and order of sums, and JPEG of quality 100: 2 levels of 255 on average."""
    row = part(rows(), slice(number, number + 1))
    before, after = decode_jpeg(row["image"][0]), pixels(versions)[number]
    difference = np.abs(crop_box(after - plain(folders, row, Image.fromarray(before)), row["box"][0]))
    change = np.abs(crop_box(after - before, row["box"][0]))
    assert difference.mean() < 2 < change.mean() / 5
    assert versions["error"].tolist() == [None] * NUM_ROWS


@pytest.mark.parametrize("own_vae", [False, True])
def test_before_jpeg_it_is_plain_diffusers_to_a_level(folders: tuple[Path, Path], own_vae: bool) -> None:
    """With the pipeline's own autoencoder from the same latents, since those are drawn."""
    refiner = Refiner(settings(folders, **({"vae": ModelConfig()} if own_vae else {})))
    row = part(rows(), slice(1, 2))
    image = latents_of(refiner, row) if own_vae else Image.fromarray(decode_jpeg(row["image"][0]))
    assert np.abs(in_pieces(refiner, row) - plain(folders, row, image, own_vae)).max() <= 1


def test_noise_does_not_depend_on_precision() -> None:
    """What the CPU draws in half precision are its float32 draws, rounded."""
    exact, *rounded = (
        torch.randn(4, 96, 96, generator=torch.Generator().manual_seed(3), dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    )
    for noise in rounded:
        torch.testing.assert_close(noise.float(), exact, rtol=2**-7, atol=1e-3)


def test_the_pipelines_own_autoencoder(folders: tuple[Path, Path]) -> None:
    """It samples its latents: from the painting's id alone, so both levels start from the same."""
    config = settings(folders, vae=ModelConfig())
    refiner = Refiner(config)
    square = np.stack([decode_jpeg(painting(0, WIDE))])
    assert torch.equal(refiner.encode(square, [5]), refiner.encode(square, [5]))
    assert not torch.equal(refiner.encode(square, [5]), refiner.encode(square, [6]))
    result = GenerateWithModel(config, seed=0)(rows(2))
    assert result["error"].tolist() == [None, None]
    assert pixels(result).std() > 10


def test_1024_px_with_the_full_autoencoder(folders: tuple[Path, Path]) -> None:
    square = np.zeros((1024, 1024, 3), np.uint8)
    box = (0, 200, 1024, 624)
    crop_box(square, box)[:] = np.random.default_rng(0).integers(0, 255, (624, 1024, 1), np.uint8)
    batch = part(rows(), slice(0, 1)) | {"box": np.array([box], np.int32)}
    batch["image"] = np.array([encode_jpeg(square, 95)], object)
    result = GenerateWithModel(settings(folders, vae=ModelConfig(), size=1024), seed=0)(batch)
    assert result["error"].tolist() == [None]
    assert pixels(result).shape == (1, 1024, 1024, 3)
    assert crop_box(pixels(result)[0], box).std() > 10
    assert pixels(result)[0, :190].max() <= 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_card_is_asked_how_many_rows_it_holds(folders: tuple[Path, Path]) -> None:
    fits = Refiner(settings(folders)).num_rows_that_fit()
    assert fits > NUM_ROWS
    stage = GenerateWithModel(settings(folders, workers={"micro_batch_size": fits * 2}), seed=0)
    assert stage._micro_batch_size == pytest.approx(fits, rel=0.2)


def test_rows_do_not_depend_on_their_batch(stage: GenerateWithModel, versions: Batch) -> None:
    alone = [stage(part(rows(), slice(row, row + 1))) for row in range(NUM_ROWS)]
    assert [batch["seed"][0] for batch in alone] == versions["seed"].tolist()
    check_same(np.concatenate([pixels(batch) for batch in alone]), pixels(versions))
    backwards = stage(part(rows(), slice(None, None, -1)))
    check_same(pixels(backwards)[::-1], pixels(versions))


def test_a_row_has_its_own_noise(stage: GenerateWithModel) -> None:
    batch = rows(2)
    batch["level"][:] = "radical"
    batch["prompt"][:] = "a river at dawn"
    batch["variant"] = np.array([0, 1], np.int32)
    first, second = pixels(stage(batch))
    assert np.abs(first - second).mean() > 1


def test_the_card_does_each_thing_once(folders: tuple[Path, Path]) -> None:
    """Steps: strength of them for each group. Prompts: one call for the new ones. Paintings: each encoded once."""
    stage = GenerateWithModel(settings(folders), seed=0)
    pipe = stage._refiner.pipe
    calls: dict[str, list[int]] = {"unet": [], "text": [], "encoder": []}

    def count(name: str) -> Hook:
        return lambda module, given, made: calls[name].append(len(given[0]) if given else 0)

    batch = rows()
    batch["prompt"][2] = batch["prompt"][0]
    with (
        hooked(pipe.unet, count("unet")),
        hooked(pipe.text_encoder_2, count("text")),
        hooked(pipe.vae.encoder, count("encoder")),
    ):
        stage(batch)
    assert calls["unet"] == [NUM_ROWS] * (STEPS["moderate"] + STEPS["radical"])  # half the rows, twice for guidance
    assert calls["text"] == [NUM_ROWS // 2 - 1, NUM_ROWS // 2]
    assert calls["encoder"] == [1] * (NUM_ROWS // 2)


def test_levels_of_one_strength_share_a_micro_batch(folders: tuple[Path, Path]) -> None:
    stage = GenerateWithModel(settings(folders, radical_strength=0.4, guidance_scale=1), seed=0)
    sizes: list[int] = []
    with hooked(stage._refiner.pipe.unet, lambda module, given, made: sizes.append(len(given[0]))):
        stage(rows())
    assert sizes == [NUM_ROWS] * STEPS["moderate"]


def _blocks(start: int, length: int) -> slice:
    """The pixels of all JPEG blocks with content, and one more."""
    return slice(max(0, start // 16 * 16 - 1), -(-(start + length) // 16) * 16 + 1)


def test_bars_are_black(stage: GenerateWithModel, versions: Batch) -> None:
    """Exactly so before JPEG; after it beyond the blocks of 16 px that hold content, and 1 px of smoothed colour."""
    row = part(rows(), slice(2, 3))
    painted, masked = in_pieces(stage._refiner, row), np.zeros((SIZE, SIZE, 3), np.uint8)
    masked[0:64, 20:44] = painted[0:64, 20:44]
    assert painted[:, :20].max() > 0
    assert stage(row)["image"][0] == encode_jpeg(masked, 100)
    for data, (left, top, width, height) in zip(versions["image"], versions["box"].tolist(), strict=True):
        beyond = np.ones((SIZE, SIZE), bool)
        beyond[_blocks(top, height), _blocks(left, width)] = False
        assert decode_jpeg(data)[beyond].max() == 0


def test_no_numbers_are_tried_again_in_float32(stage: GenerateWithModel, versions: Batch) -> None:
    """Once spoiled: the same version, and nothing of it stays; always spoiled: an error, and the other rows done."""
    decoder = stage._refiner.pipe.vae.decoder
    calls: list[int] = []

    def spoil_first(module: torch.nn.Module, given: Any, made: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return torch.full_like(made, float("inf")) if len(calls) == 1 else made

    with hooked(decoder, spoil_first):
        mended = stage(rows())
    assert mended["error"].tolist() == [None] * NUM_ROWS
    assert len(calls) == NUM_ROWS + 1
    check_same(pixels(mended), pixels(versions))
    with hooked(decoder, spoil):
        lost = stage(part(rows(), slice(0, 2)))
    assert [error.split(":")[0] for error in lost["error"]] == ["black_image"] * 2
    assert lost["image"].tolist() == [None, None]


def test_latents_without_numbers_fail_alone(stage: GenerateWithModel, versions: Batch) -> None:
    """The autoencoder's tanh would make numbers of infinities; the rows beside are not touched."""
    poison = stage._refiner.encode(np.stack([decode_jpeg(rows()["image"][2])]), [0])

    def spoil_one(module: torch.nn.Module, given: Any, made: torch.Tensor) -> torch.Tensor:
        return made * float("inf") if torch.allclose(made, poison, atol=1e-3) else made

    with hooked(stage._refiner.pipe.vae.encoder, spoil_one):
        result = stage(rows())
    assert [error and error.split(":")[0] for error in result["error"]] == [
        None,
        None,
        *["black_image"] * 2,
        *[None] * 4,
    ]
    assert result["image"][:2].tolist() == versions["image"][:2].tolist()


def test_a_black_version_is_an_error_unless_the_painting_is_black(stage: GenerateWithModel) -> None:
    batch = rows(4)
    batch["image"][:2] = encode_jpeg(np.zeros((SIZE, SIZE, 3), np.uint8), 95)
    with hooked(stage._refiner.pipe.vae.decoder, lambda module, given, made: torch.full_like(made, -1)):
        result = stage(batch)
    assert [error and error.split(":")[0] for error in result["error"]] == [None, None, "black_image", "black_image"]
    assert [data is None for data in result["image"]] == [False, False, True, True]


def test_a_batch_that_does_not_fit_is_halved_and_the_half_remembered(
    folders: tuple[Path, Path], versions: Batch
) -> None:
    stage = GenerateWithModel(settings(folders), seed=0)
    sizes: list[int] = []

    def small_card(module: torch.nn.Module, given: Any, made: Any) -> None:
        sizes.append(len(given[0]) // 2)
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with hooked(stage._refiner.pipe.unet, small_card):
        first = stage(rows())
        assert sizes.count(4) == 1
        assert sorted(set(sizes)) == [2, 4]
        stage(rows())
        assert sizes.count(4) == 1
    check_same(pixels(first), pixels(versions))


def test_a_row_that_never_fits_is_not_hidden(stage: GenerateWithModel) -> None:
    def no_card(module: torch.nn.Module, given: Any, made: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with hooked(stage._refiner.pipe.unet, no_card), pytest.raises(torch.OutOfMemoryError):
        stage(rows(2))


def test_a_failing_card_ends_the_process(stage: GenerateWithModel) -> None:
    def broken(module: torch.nn.Module, given: Any, made: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with hooked(stage._refiner.pipe.unet, broken), pytest.raises(EngineError, match="illegal memory access"):
        stage(rows(2))


def test_a_painting_that_does_not_decode_fails_alone(stage: GenerateWithModel, versions: Batch) -> None:
    batch = rows()
    batch["image"][2:4] = b"no picture"
    batch["image"][6] = batch["image"][7] = batch["image"][6][:900]
    result = stage(batch)
    lost = [2, 3, 6, 7]
    assert [row for row, error in enumerate(result["error"]) if error] == lost
    assert {error.split(":")[0] for error in result["error"][lost]} == {"corrupt"}
    assert result["image"][lost].tolist() == [None] * 4
    kept = [0, 1, 4, 5]
    check_same(pixels({"image": result["image"][kept]}), pixels(versions)[kept])


def test_the_input_is_left_alone(stage: GenerateWithModel) -> None:
    batch = rows(2)
    for column in batch.values():
        column.setflags(write=False)
    result = stage(batch)
    assert set(result) == {*batch, "seed", "error"}
    assert batch["image"].tolist() == rows(2)["image"].tolist()


@pytest.mark.parametrize(("dtype", "half"), [("float32", False), ("bfloat16", True), ("float16", True)])
def test_half_precision_loads_the_half_sized_files(
    folders: tuple[Path, Path], tmp_path: Path, dtype: str, half: bool
) -> None:
    """Both variants in one folder, told apart by a weight: the one that is not asked for is not read."""
    pipe: Any = StableDiffusionXLImg2ImgPipeline.from_pretrained(folders[0], add_watermarker=False)
    pipe.save_pretrained(tmp_path)
    torch.nn.init.constant_(pipe.unet.conv_out.bias, 2)
    pipe.save_pretrained(tmp_path, variant="fp16")
    refiner = Refiner(settings((tmp_path, folders[1]), model={"id": str(tmp_path), "dtype": dtype}))
    assert refiner.pipe.unet.dtype == refiner.pipe.vae.dtype == getattr(torch, dtype)
    assert bool((refiner.pipe.unet.conv_out.bias == 2).all()) is half


def test_only_what_is_loaded_is_fetched() -> None:
    """The weights in the published repository, where each model lies twice and all three once more in one file."""
    models = ["text_encoder_2/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"]
    files = [f"{model}{variant}.safetensors" for model in models for variant in ("", ".fp16")]
    files += ["sd_xl_refiner_1.0.safetensors", "sd_xl_refiner_1.0_0.9vae.safetensors"]
    fetched = list(filter_repo_objects(files, allow_patterns=weight_files("fp16", own_vae=False)))
    assert fetched == [f"{model}.fp16.safetensors" for model in models[:2]]
    fetched = list(filter_repo_objects(files, allow_patterns=weight_files(None, own_vae=True)))
    assert fetched == [f"{model}.safetensors" for model in models]


def test_a_folder_without_weights_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="unet"):
        Refiner(settings((tmp_path, folders[1])))
