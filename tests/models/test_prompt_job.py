"""The prompt job on a real vLLM engine, its process killed half-way: a retry, and no row lost or other."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest

from artsim.config import ModelConfig, PromptConfig
from artsim.resume import replace
from artsim.schemas import VERSION_KEY, schema_of
from artsim.stages.prompt import expand
from artsim.tables import Table, create_root
from tests.conftest import REPOSITORY
from tests.models.tiny_language import tiny_clip_tokenizer, tiny_llama

pytest.importorskip("vllm")
from artsim.stages.prompt_model import WritePromptWithModel

pytestmark = [pytest.mark.models, pytest.mark.cluster, pytest.mark.slow]
NUM_PAINTINGS = 32
COLUMNS = (*VERSION_KEY, "approach", "prompt", "num_tokens")


def captioned(root: Path) -> dict[str, list[str]]:
    """Make the two tables that prompts are made from; returns what they hold."""
    num_buckets = create_root(str(root), 4)
    ids = [f"Genre/{k}" for k in range(NUM_PAINTINGS)]
    known = {"id": ids, "genre": ["Genre"] * len(ids), "caption": [f"a woman with {k} lamps" for k in range(len(ids))]}
    for name in ("artworks", "captions"):
        fields = [field for field in schema_of(name) if field.name not in ("input_hash", "row_hash")]
        columns = [pa.array(known.get(field.name, [None] * len(ids)), field.type) for field in fields]
        replace(Table(str(root), name, num_buckets), pa.table(columns, names=[field.name for field in fields]))
    return known


def written_here(known: dict[str, list[str]], config: PromptConfig) -> list[dict[str, object]]:
    """The rows as the stage writes them in this process, in a single call."""
    index, added = expand(known["id"], config, 0)
    batch = {name: np.array(column, object)[index] for name, column in known.items()} | added
    nothing = np.full(len(index), None, object)
    written = WritePromptWithModel(config, seed=0)(batch | {"artist": nothing, "title": nothing})
    return in_order(
        [dict(zip(COLUMNS, row, strict=True)) for row in zip(*(written[name] for name in COLUMNS), strict=True)]
    )


def in_order(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(rows, key=lambda row: [str(row[name]) for name in VERSION_KEY])


def job(root: Path, model: Path, tokenizer: Path) -> subprocess.Popen[str]:
    settings = [
        *(f"root={root}", "num_buckets=4", f"prompt.model.id={model}", f"prompt.tokenizer.id={tokenizer}"),
        *("prompt.workers.num_workers=1", "prompt.workers.batch_size=4", "prompt.workers.rows_per_part=4"),
    ]
    command = [sys.executable, "jobs/prompt.py", *settings]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill_engine(process: subprocess.Popen[str], parts: Path) -> None:
    """Kill -9 the process that the engine runs in as soon as there are two parts of the table."""
    deadline = time.monotonic() + 200
    while len(list(parts.glob("*.parquet"))) < 2:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    engines = [child for child in family if "WritePromptWithModel" in " ".join(child.cmdline())]
    assert len(engines) == 1
    engines[0].kill()


def test_an_engine_killed_half_way_costs_a_retry_and_no_rows(tmp_path: Path) -> None:
    model, tokenizer = tiny_llama(tmp_path / "llama"), tiny_clip_tokenizer(tmp_path / "clip")
    known = captioned(tmp_path)
    process = job(tmp_path, model, tokenizer)
    kill_engine(process, tmp_path / "prompts")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert f"prompts: {2 * NUM_PAINTINGS} rows, 0 quarantined, {2 * NUM_PAINTINGS} new" in output
    rows = Table(str(tmp_path), "prompts", 4).read_all(COLUMNS).to_pylist()
    config = PromptConfig(model=ModelConfig(id=str(model)), tokenizer=ModelConfig(id=str(tokenizer)))
    assert in_order(rows) == written_here(known, config)
