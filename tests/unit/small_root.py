"""A root with every table of the chain, made without Ray: keys and hashes as the jobs give them, contents made up."""

import io
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from artsim.config import PromptConfig, TripletsConfig
from artsim.edited import expand_edits
from artsim.resume import Expand, Input, Work, publish, replace
from artsim.schemas import WHOLE, digest64, row_hashes, schema_of
from artsim.stages.prompt import expand as expand_versions
from artsim.tables import Table, claim, create_root, fingerprint
from artsim.triplets import expand_tiers

NUM_BUCKETS = 3
SIZE = 64
IDS = tuple(f"Genre {number % 3}/ärtist-{number % 5}_title {number:02d}" for number in range(14))
NO_MODEL = {"id": "", "revision": "main", "dtype": "auto"}
TIERS = TripletsConfig(tiers=("any", "original"), num_negatives=1)

READS: dict[str, tuple[str, ...]] = {
    "artworks": ("_listing",),
    "duplicates": ("artworks",),
    "resized": ("artworks",),
    "thumbnails": ("resized",),
    "captions": ("resized",),
    "prompts": ("captions", "artworks"),
    "generated": ("prompts", "resized"),
    "generated_captions": ("generated",),
    "embeddings": ("resized",),
    "generated_embeddings": ("generated",),
    "caption_embeddings": ("captions",),
    "generated_caption_embeddings": ("generated_captions",),
    "cues": ("resized",),
    "generated_cues": ("generated",),
    "splits/a70": ("artworks", "duplicates"),
    "triplets/a70": ("generated", "prompts", "splits/a70", "artworks"),
    "edited": ("resized", "splits/a70"),
    "edited_versions": ("generated", "splits/a70", "resized"),
    "edited_embeddings": ("edited",),
    "edited_version_embeddings": ("edited_versions",),
    "edited_cues": ("edited",),
}
"""What each table reads, as the jobs do."""
STAGES = {"captions": "Caption", "prompts": "WritePrompt", "generated": "Generate", "generated_captions": "Caption"}
SETTINGS: dict[str, dict[str, Any]] = {
    "captions": {"caption": {"model": NO_MODEL}},
    "prompts": {"prompt": {"model": NO_MODEL, "tokenizer": NO_MODEL}},
    "generated": {"generate": {"model": NO_MODEL, "vae": NO_MODEL, "size": SIZE}},
}
EXPAND: dict[str, Expand] = {
    "prompts": partial(expand_versions, config=PromptConfig(), seed=0),
    "triplets/a70": partial(expand_tiers, config=TIERS),
    "edited": lambda ids: expand_edits(ids, dict.fromkeys(ids, ("jpeg-30", "bars-kept"))),
    "edited_versions": lambda ids: expand_edits(ids, dict.fromkeys(ids, ("bars-kept",))),
}


def jpeg(seed: int) -> bytes:
    """Noise in the middle of a black square."""
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels[8:56] = np.random.default_rng(seed).integers(0, 256, (48, SIZE, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def list_paintings(root: str, ids: tuple[str, ...] = IDS) -> None:
    """What jobs/ingest.py finds at the source."""
    rows = [{"id": row_id, "uri": f"/source/{row_id}.jpg", "version": "1"} | parts(row_id) for row_id in ids]
    schema = pa.schema([field for field in schema_of("_listing") if not field.name.endswith("_hash")])
    replace(Table(root, "_listing", NUM_BUCKETS), pa.Table.from_pylist(rows, schema))


def parts(row_id: str) -> dict[str, str]:
    genre, name = row_id.split("/")
    artist, title = name.split("_")
    return {"genre": genre, "artist": artist, "title": title}


def work_of(root: str, name: str, stage: str | None = None, settings: dict[str, Any] | None = None) -> Work:
    """The work of one job, whose inputs are finished; the table is claimed."""
    inputs = tuple(Input.of(Table(root, read, NUM_BUCKETS), {}) for read in READS[name])
    recipe = {
        "stage": stage or STAGES.get(name, "Stage"),
        "version": 1,
        "settings": settings or SETTINGS.get(name, {}),
        "inputs": {source.table.name: source.fingerprint for source in inputs},
    }
    table = Table(root, name, NUM_BUCKETS)
    claim(table, recipe, {})
    whole = name.split("/")[0] in WHOLE
    salt = digest64(fingerprint(recipe), *(source.digest for source in inputs if whole))
    return Work(table, inputs, EXPAND.get(name), salt)


def fill(work: Work) -> int:
    """Make what a table lacks, finish it, and return how many rows were new."""
    found = work.table.parts()
    plans = [work.missing(bucket, found) for bucket in range(NUM_BUCKETS)]
    missing = [row for plan in plans for row in plan.to_pylist()]
    for bucket in range(NUM_BUCKETS):  # two parts for a bucket, where there are rows for them
        rows = [row for row in missing if digest64(row["id"]) % NUM_BUCKETS == bucket]
        for some in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            write(work.table, some)
    found = work.table.parts()
    settled = [work.settle(bucket, found) for bucket in range(NUM_BUCKETS)]
    assert not any(count for _, count in settled)
    publish(work.table, [kept for kept, _ in settled], work.inputs)
    return len(missing)


def write(table: Table, rows: list[dict[str, Any]]) -> None:
    schema = schema_of(table.name, (SIZE,))
    made = pa.Table.from_pylist([row | contents(table.name, row) for row in rows], schema)
    hashes = pa.array(row_hashes(made))
    table.write(made.set_column(made.column_names.index("row_hash"), "row_hash", hashes))


def contents(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """What a stage would add to a row."""
    key = "/".join(str(row[column]) for column in ("id", "level", "variant", "edit") if column in row)
    number = digest64(name, key)
    made: dict[str, Any] = {
        field.name: f"{field.name} of {key}" for field in schema_of(name, (SIZE,)) if field.type == "string"
    }
    made |= {"width": 64, "height": 48, "num_tokens": 5, "seed": number >> 1, "row_hash": 0}
    made |= {"distance": None, "num_in_component": 1}
    made |= {"box": [0, 8, SIZE, 48], f"box_{SIZE}": [0, 8, SIZE, 48], "pooled": [0.5, 1.0], "tokens": [[0.5], [1.0]]}
    made |= {"early": [0.5, 0.25], "num_bytes": 900, "jpeg_quality": 95, "aspect": 1.5, "histogram": [0.6, 0.8]}
    made |= {"image": jpeg(number), f"image_{SIZE}": jpeg(number)}
    if name == "artworks":
        made |= {"uri": f"/source/{row['id']}.jpg", "subset": None} | parts(row["id"])
    if name.startswith(("splits", "triplets")):
        made["split"] = ("train", "val", "test")[digest64(row["id"]) % 3]
    if name.startswith("triplets"):
        # Each painting's negative is the one listed before it; that of a new one the first.
        before = IDS[IDS.index(row["id"]) - 1] if row["id"] in IDS else IDS[0]
        kind = (None, None) if row["tier"] == "original" else (row["level"], row["variant"])
        made |= {"negative_id": before, "negative_level": kind[0], "negative_variant": kind[1]}
    return made | row


def make(root: str) -> None:
    """The whole chain below a new root."""
    create_root(root, NUM_BUCKETS)
    list_paintings(root)
    for name in READS:
        fill(work_of(root, name))
