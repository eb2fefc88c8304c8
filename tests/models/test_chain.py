"""The whole chain of jobs/full.yaml on the real engines, with tiny checkpoints: paintings in, a report out."""

import json
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pytest

from artsim.baselines import SCORERS
from artsim.command import FULL_PROFILE
from artsim.config import GalleryConfig
from artsim.gallery import paint
from artsim.images import crop_box, decode_jpeg
from artsim.tables import Table, status
from tests.cluster.programs import artsim, run
from tests.made import made_once
from tests.models.tiny_diffusion import tiny_refiner, tiny_vae
from tests.models.tiny_language import tiny_llama
from tests.models.tiny_vision import tiny_blip2, tiny_clip

pytestmark = [pytest.mark.models, pytest.mark.cluster]

NUM_PAINTINGS = 12
SIDE = 128
STAGES = ("caption", "prompt", "generate", "embed")
WORKERS = {"num_workers": 1, "num_gpus": 0, "num_cpus": 1}
ON_TWO_CORES = [f"{stage}.workers.{name}={value}" for stage in STAGES for name, value in WORKERS.items()]
MODELS = ("caption.model", "prompt.model", "prompt.tokenizer", "generate.model", "generate.vae", "embed.model")


def _settings(folder: Path) -> list[str]:
    """A source of a dozen paintings, and a checkpoint for every step, below the folder."""
    return [
        *(f"--config={FULL_PROFILE}", "training.use_gpu=false", *ON_TWO_CORES),
        *(f"{model}.revision=main" for model in MODELS),  # the file's commits are of other repositories
        *(f"source.uri={folder / 'paintings'}", f"letterbox.sizes=[{SIDE}]", f"embed.size={SIDE}"),
        *(f"generate.size={SIDE}", "generate.num_inference_steps=5", "split.group=component"),
        *("edit.num_paintings=0", "edit.num_framed=0"),  # of which the stand-ins' chain has its test
        *(f"caption.model.id={folder / 'blip2'}", "caption.max_new_tokens=12"),
        *(f"prompt.model.id={folder / 'llama'}", f"prompt.tokenizer.id={folder / 'refiner'}"),
        *(f"generate.model.id={folder / 'refiner'}", f"generate.vae.id={folder / 'vae'}"),
        # Random weights write nonsense: now and then a caption is empty, or a prompt finds no end.
        *(f"embed.model.id={folder / 'clip'}", "max_failure_rate=0.5"),
    ]


def _make(folder: Path) -> None:
    for index in range(NUM_PAINTINGS):
        painting = paint(index, GalleryConfig(max_side_px=SIDE))
        file = folder / "paintings" / painting.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(painting.image)
    tiny_blip2(folder / "blip2")
    tiny_llama(folder / "llama")
    tiny_refiner(folder / "refiner")
    tiny_vae(folder / "vae")
    tiny_clip(folder / "clip")
    run("run", folder / "root", *_settings(folder))


@pytest.fixture(scope="module")
def made(pytestconfig: pytest.Config) -> Path:
    """A root on which jobs/run.py ran from the source to the report, beside what it read."""
    return made_once(pytestconfig, "chain", _make)


@pytest.fixture(scope="module")
def settings(made: Path) -> list[str]:
    return _settings(made)


@pytest.fixture(scope="module")
def root(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' own copy of the root."""
    return Path(shutil.copytree(made / "root", tmp_path_factory.mktemp("chain") / "root"))


def rows(root: Path, name: str, *columns: str) -> list[dict[str, object]]:
    table = Table(str(root), name, 4)
    return table.read_all((*table.key, *columns)).to_pylist()


def test_every_row_is_done_or_has_a_reason(root: Path) -> None:
    tables = status(str(root))["tables"]
    for name, table in tables.items():
        assert table["expected"] == table["done"] + sum(table["quarantined"].values()), name
        assert set(table["quarantined"]) <= {"empty", "invalid_output"}, name
    assert tables["captions"]["expected"] == NUM_PAINTINGS
    assert tables["prompts"]["expected"] == 2 * tables["captions"]["done"]
    assert tables["generated"]["done"] == tables["prompts"]["done"] > NUM_PAINTINGS / 2


def test_recipes_name_the_very_files_that_were_used(root: Path, settings: list[str]) -> None:
    header = Table(str(root), "generated", 4).header()
    assert header is not None
    model = header["recipe"]["settings"]["generate"]["model"]
    assert model["revision"].startswith("sha256-")  # the digest of its files
    assert f"generate.model.id={model['id']}" in settings
    assert header["recipe"]["stage"] == "GenerateWithModel"


def test_prompts_fit_and_versions_keep_their_boxes(root: Path) -> None:
    prompts = rows(root, "prompts", "prompt", "num_tokens", "approach")
    assert all(0 < row["num_tokens"] <= 75 for row in prompts)
    for row in rows(root, "generated", "image", "box"):
        outside = decode_jpeg(row["image"]).copy()
        crop_box(outside, row["box"])[:] = 0
        assert outside.mean() < 2  # JPEG rings where the bars begin


def test_the_report_names_no_stand_in(root: Path) -> None:
    assert "None: every step used its model." in (root / "models/a70-component/report.html").read_text()
    metrics = json.loads((root / "models/a70-component/metrics.json").read_text())
    assert {row["scorer"] for row in metrics["rows"]} >= set(SCORERS) - {"thesis_head"}  # too few paintings for that


def test_two_pictures_are_compared_with_the_model_s_own_encoder(root: Path) -> None:
    model = root / "models/a70-component"
    first, second = model / "examples/painting.jpg", model / "examples/version.jpg"
    same, other = (json.loads(artsim("compare", first, b, "--model", model, "--json")) for b in (first, second))
    assert same["similarity"] == pytest.approx(1, abs=1e-4)
    assert other["similarity"] < same["similarity"]


@pytest.mark.slow
def test_captions_are_fused_with_the_text_tower_of_the_same_model(root: Path, settings: list[str]) -> None:
    fused = ["training.name=fused", "head.preset=pooled", "head.caption_fusion=true", "training.loss=triplet"]
    unsaid = [setting for setting in settings if not setting.startswith("embed.model.id")]
    run("train", root, *unsaid, *fused)
    config = json.loads((root / "models/fused/config.json").read_text())
    assert config["info"]["embed"]["model"]["id"].endswith("clip")  # as the tables say, whatever the settings do
    pooled = Table(str(root), "caption_embeddings", 4).read_all(["pooled"])["pooled"]
    assert config["sizes"]["pooled_size"] == pc.list_value_length(pooled)[0].as_py()
    assert config["head"]["caption_fusion"] is True
