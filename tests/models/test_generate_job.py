"""Generation through Ray on real diffusers that fails half-way: another process tries again, and no row is lost."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import ray

from artsim import pipeline
from artsim.command import Command
from artsim.config import Config, GenerateConfig, ModelConfig, Workers
from artsim.resume import replace as replace_table
from artsim.schemas import schema_of
from artsim.stages.generate_model import GenerateWithModel
from artsim.tables import Table, create_root
from jobs import generate
from tests.models.test_generate_model import SIZE, rows
from tests.models.tiny_diffusion import tiny_refiner, tiny_vae

pytestmark = [pytest.mark.models, pytest.mark.cluster, pytest.mark.slow]

NUM_ROWS = 12


class FailsOnce(GenerateWithModel):
    """The stage on a card that fails in its third step, as long as a file `once` does not exist."""

    def __init__(self, config: GenerateConfig, seed: int, once: str) -> None:
        super().__init__(config, seed)
        if not Path(once).exists():
            self._steps = 0
            self._refiner.pipe.unet.register_forward_pre_hook(lambda *_: self._step(Path(once)))

    def _step(self, once: Path) -> None:
        self._steps += 1
        if self._steps == 3:
            once.touch()
            raise RuntimeError("CUDA error: an illegal memory access was encountered")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    folder = tmp_path_factory.mktemp("checkpoints")
    refiner, vae = (ModelConfig(id=str(path)) for path in (tiny_refiner(folder / "a"), tiny_vae(folder / "b")))
    workers = Workers(num_workers=1, batch_size=4, rows_per_part=4)
    given = GenerateConfig(model=refiner, vae=vae, size=SIZE, num_inference_steps=10, workers=workers)
    sizes = {"num_buckets": 2, "letterbox": {"sizes": [SIZE]}, "embed": {"size": SIZE}}
    yield Config.model_validate(Config().model_dump() | {"generate": given.model_dump()} | sizes)
    ray.shutdown()


def generated(root: Path, config: Config, once: Path) -> dict[tuple[object, ...], tuple[object, ...]]:
    """Fill the table `generated` of a new root; returns seed and image of each key."""
    num_buckets = create_root(str(root), 2)
    batch = rows(NUM_ROWS)
    paintings = {name: column[::2] for name, column in batch.items()}
    known = {
        "resized": {"id": paintings["id"], f"image_{SIZE}": paintings["image"], f"box_{SIZE}": list(paintings["box"])},
        "prompts": batch,
    }
    for name, columns in known.items():
        fields = [field for field in schema_of(name, (SIZE,)) if field.name not in ("input_hash", "row_hash")]
        nothing = [None] * len(columns["id"])
        arrays = [pa.array(columns.get(field.name, nothing), field.type) for field in fields]
        replace_table(Table(str(root), name, num_buckets), pa.table(arrays, schema=pa.schema(fields)))
    config = config.model_copy(update={"root": str(root)})
    step = generate.step_of(config)
    step = replace(step, stage=FailsOnce, arguments=(*step.arguments, str(once)))
    summary = pipeline.run(step, Command(config))
    assert (summary.rows, summary.new_rows, summary.quarantined) == (NUM_ROWS, NUM_ROWS, 0)
    table = Table(str(root), "generated", num_buckets)
    found = table.read_all((*table.key, "seed", "image")).to_pylist()
    return {tuple(row[name] for name in table.key): (row["seed"], row["image"]) for row in found}


def test_a_failure_inside_the_pipeline_costs_a_retry_and_no_row(config: Config, tmp_path: Path) -> None:
    once = tmp_path / "once"
    harmed = generated(tmp_path / "harmed", config, once)
    assert once.exists()
    assert harmed == generated(tmp_path / "unharmed", config, once)
    assert len(harmed) == NUM_ROWS
