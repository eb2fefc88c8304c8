"""Model folders below a root: whose run they hold, and how they get there and back, from any store."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artsim.cache import inputs_of
from artsim.config import Config
from artsim.siamese import ModelError
from artsim.store import Store
from artsim.tables import Table, TableError, differences, fingerprint, open_root

_HARDWARE = {"name", "num_workers", "num_cpus", "use_gpu", "max_failures"}
FILES = ("model.safetensors", "config.json")
"""What makes a model, in the order in which it is put in place: a folder with the last has all."""
THESIS = "-thesis"
"""What the name of a model ends with that was trained beside another as the thesis did it."""
CALIBRATION, SUBSCORES = "calibration.json", "subscores.json"
"""What its similarities mean, and in what way two pictures are alike, which jobs/evaluate.py adds."""
LEARNED = (CALIBRATION, SUBSCORES)
INDEX = "index"
"""Folder in which jobs/index.py puts what finds the nearest paintings; a folder with index.json has all."""


@dataclass(frozen=True)
class Run:
    """One training run: the folder that its model goes to, and what identifies it."""

    folder: str
    name: str
    """Name and the recipe's fingerprint, so that a run never resumes from another's checkpoints."""
    info: dict[str, Any]
    """What the scorer must know of how its features were made, and the recipe, which are stored with the model."""
    is_trained: bool


def claim(config: Config, overwrite: bool = False) -> Run:
    """The run that these settings ask for; TableError where the folder holds a model of others, or tables lack."""
    recipe = _recipe(config)
    folder = f"{config.root}/models/{config.model_name}"
    found = (Store(folder).read_json("config.json") or {}).get("info", {})
    is_trained = found.get("fingerprint") == fingerprint(recipe)
    if found and not is_trained and not overwrite:
        raise TableError(
            f"{folder} was trained with other settings ({'; '.join(differences(found['recipe'], recipe))}): "
            "choose another training.name, or train it anew with --overwrite"
        )
    made = _features_made(config)
    info = {"name": config.model_name, "fingerprint": fingerprint(recipe), "recipe": recipe, **made}
    return Run(folder, f"{config.model_name}-{fingerprint(recipe)}", info, is_trained)


def _recipe(config: Config) -> dict[str, Any]:
    """All that changes the weights: settings, and the fingerprints and contents of the tables."""
    num_buckets = open_root(config.root)
    triplets = Table(config.root, f"triplets/{config.split.name}", num_buckets)
    tables = [*(source.table for source in inputs_of(config, num_buckets)), triplets]
    return {
        "head": config.head.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json", exclude=_HARDWARE),
        "held_out_approaches": sorted(config.triplets.held_out_approaches),
        "seed": config.seed,
        "inputs": {table.name: table.finished()["digest"] for table in tables},
    }


def _features_made(config: Config) -> dict[str, Any]:
    """How the tables' features were made, whatever the settings say now; TableError where the tables do not agree."""
    num_buckets = open_root(config.root)
    embed = [_settings_of(source.table)["embed"] for source in inputs_of(config, num_buckets)]
    for other in embed[1:]:
        if fingerprint(other) != fingerprint(embed[0]):
            changes = "; ".join(differences(embed[0], other))
            raise TableError(
                f"the embeddings below {config.root} were not made by one model ({changes}): make them anew"
            )
    resized = _settings_of(Table(config.root, "resized", num_buckets))
    letterbox = resized["letterbox"] | {"sizes": [embed[0]["size"]]}
    return {"letterbox": letterbox, "embed": embed[0], "max_pixels": resized["max_pixels"]}


def check_same_features(config: Config, other: Config) -> None:
    """TableError where the features of another root were not made by the same model and settings."""
    ours, theirs = (_features_made(some)["embed"] for some in (config, other))
    if fingerprint(ours) != fingerprint(theirs):
        changes = "; ".join(differences(ours, theirs))
        raise TableError(f"the embeddings below {other.root} were not made as those below {config.root} ({changes})")


def check_made_with(info: dict[str, Any], table: Table) -> None:
    """TableError where the features of a finished table were not made as those that a model was trained on."""
    ours, theirs = info["embed"], _settings_of(table)["embed"]
    if fingerprint(ours) != fingerprint(theirs):
        changes = "; ".join(differences(ours, theirs))
        raise TableError(f"{table.name} below {table.root} was not made as what the model learned from ({changes})")


def _settings_of(table: Table) -> dict[str, Any]:
    header = table.header()
    assert header is not None, f"{table.name} was read before"
    settings: dict[str, Any] = header["recipe"]["settings"]
    return settings


def root_of(model: str) -> str:
    """The root that a model folder lies below: `<root>/models/<name>`."""
    return posixpath.dirname(posixpath.dirname(model.rstrip("/")))


@contextmanager
def fetch(folder: str) -> Iterator[Path]:
    """A model's files as a local folder, wherever it lies; ModelError where it is not a model folder.

    What its evaluation learned comes along where there is some.
    """
    store = Store(folder, "model")
    with tempfile.TemporaryDirectory() as local:
        for name in (*FILES, *LEARNED):
            data = store.read(name)
            if data is not None:
                (Path(local) / name).write_bytes(data)
            elif name in FILES:
                raise ModelError(f"{folder}: not a model folder, it has no {name}")
        yield Path(local)


def publish(local: Path, folder: str) -> None:
    """Put a model's files in place, config.json last; of one that was there before it goes first, then its index."""
    Store(folder).delete([FILES[-1]])
    Store(folder).delete([f"{INDEX}/index.json", INDEX, *LEARNED])
    for name in FILES:
        Store(folder).write(name, (local / name).read_bytes())
