"""Published weights on this machine: exactly which version of them, and one download a machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from artsim import UserError
from artsim.clients import open_url, telling
from artsim.config import ModelConfig, Section

S = TypeVar("S", bound=Section)

CACHE = Path(os.path.expanduser("~/.cache/artsim/checkpoints"))
_DESCRIPTIONS = ("*.json", "*.txt", "*.model", "*.jinja")
"""Everything but weights: a few megabytes that say what a model is, its tokenizer included."""
_CONFIGS = ("config.json", "model_index.json", "tokenizer_config.json")
WEIGHTS = (("*.safetensors",), ("pytorch_model*.bin",))
"""Older repositories have no safetensors, CLIP ViT-B/32 among them; transformers unpickles tensors only."""
_EDGE_BYTES = 1_000_000


class CheckpointError(UserError):
    """Weights that cannot be had; the message says which, why, and what to do."""


def pin(model: ModelConfig) -> ModelConfig:
    """The same model under the revision that its files have now: a commit, or a digest of a folder's contents.

    Reads descriptions only, no weights, so that a model that cannot be had is found out before anything starts.
    Raises CheckpointError: no such model or revision, no access to it, or no network and nothing in the cache.
    """
    if not model.id:
        return model
    if _is_folder(model.id):
        if "://" not in model.id:  # workers stand in other folders
            model = model.model_copy(update={"id": os.path.abspath(os.path.expanduser(model.id))})
        return model.model_copy(update={"revision": _digest(model.id)})
    return model.model_copy(update={"revision": _snapshot(model, _DESCRIPTIONS).name})


def pinned(section: S) -> S:
    """A section of the settings with each of its models pinned."""
    models = {name: pin(value) for name, value in section if isinstance(value, ModelConfig)}
    return section.model_copy(update=models)


def fetch(model: ModelConfig, weights: Sequence[Sequence[str]] = WEIGHTS) -> Path:
    """A folder on this machine with a model's descriptions and its weights.

    `weights` are patterns of file names, alternatives in the order in which they are preferred: the first that is
    there is taken, and no other is downloaded; no alternatives: no weights. Other processes of this machine wait for a
    download instead of starting their own. Raises CheckpointError.
    """
    if _is_folder(model.id):
        folder = _copy(model) if "://" in model.id else Path(os.path.expanduser(model.id))
        if model.revision.startswith("sha256-") and _digest(str(folder)) != model.revision:
            raise CheckpointError(
                f"{model.id} does not hold the files that it held when it was pinned as {model.revision}"
            )
        _files(str(folder))
    else:
        folder = _snapshot(model, _DESCRIPTIONS)
        for patterns in weights:
            if _has(_snapshot(model, (*_DESCRIPTIONS, *patterns)), patterns):
                break
    if weights and not any(_has(folder, patterns) for patterns in weights):
        names = " or ".join(pattern for patterns in weights for pattern in patterns)
        raise CheckpointError(f"{model.id} at {model.revision} holds no weights named {names}")
    return folder


def has_text_tower(model: ModelConfig) -> bool:
    """Whether a vision model embeds texts too, as CLIP does, by its config.json; the stand-in does.

    Raises CheckpointError.
    """
    if not model.id:
        return True
    if _is_folder(model.id):
        fs, root, names = _files(model.id)
        text = fs.cat_file(f"{root}/config.json") if "config.json" in names else b"{}"
    else:
        text = (_snapshot(model, _DESCRIPTIONS) / "config.json").read_bytes()
    return {"text_config", "vision_config"} <= json.loads(text).keys()


def _has(folder: Path, patterns: Sequence[str]) -> bool:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def _is_folder(name: str) -> bool:
    return "://" in name or name.startswith((".", "~", "/")) or os.path.isdir(name)


def _snapshot(model: ModelConfig, patterns: Sequence[str]) -> Path:
    """Files of a Hugging Face id in its own cache, below a folder that is named by the commit."""
    if find_spec("huggingface_hub") is None:
        raise CheckpointError(f"{model.id}: its libraries are not installed: pip install -e '.[models]'")
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(model.id, revision=model.revision, allow_patterns=list(patterns)))
    except GatedRepoError as error:
        raise CheckpointError(
            f"{model.id} is gated: accept its licence at {constants.ENDPOINT}/{model.id}, then set HF_TOKEN to a token "
            "of that account, on every machine"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{model.id} has no revision {model.revision}: name a commit or a branch") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{model.id}: there is no such model, or HF_TOKEN does not give access to it; check the spelling"
        ) from error
    except (HFValidationError, LocalEntryNotFoundError, HfHubHTTPError) as error:
        raise CheckpointError(
            f"{model.id} cannot be downloaded ({_first_line(error)}) and is not in the cache: name a folder or fsspec "
            "URL that holds it, or mend the connection"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _files(url: str) -> tuple[Any, str, dict[str, int]]:
    """The files below a folder or URL: name -> bytes, with the file system and the path that they lie below.

    What is hidden does not count: download tools keep their notes there, with times that differ between machines.
    """
    try:
        fs, root = open_url(os.path.expanduser(url))
        there, found = fs.exists(root), fs.find(root, detail=True)
    except (OSError, ValueError, ImportError) as error:
        raise CheckpointError(f"{url} cannot be listed ({_first_line(error)}): check it and the credentials") from error
    if not there:
        raise CheckpointError(f"{url}: there is no such folder on this machine, or it cannot be seen from here")
    names = {path.removeprefix(root).lstrip("/"): int(facts["size"]) for path, facts in found.items()}
    names = {name: size for name, size in names.items() if "/." not in f"/{name}"}
    if not any(name in names for name in _CONFIGS):
        raise CheckpointError(f"{url}: not a model folder, it has no {' or '.join(_CONFIGS)}")
    return fs, root, names


def _digest(url: str) -> str:
    """What identifies the files of a folder: names, sizes and contents, of large files their first and last bytes."""
    fs, root, names = _files(url)
    digest = hashlib.sha256()
    for name, size in sorted(names.items()):
        path, edge = f"{root}/{name}", max(_EDGE_BYTES, size - _EDGE_BYTES)
        with telling("model.id", f"{url}/{name}", "read"):
            head = fs.cat_file(path, start=0, end=min(size, _EDGE_BYTES)) if size else b""
            tail = fs.cat_file(path, start=edge, end=size) if size > _EDGE_BYTES else b""
        digest.update(f"{name}\0{size}\0".encode() + head + tail)
    return f"sha256-{digest.hexdigest()[:32]}"


def _copy(model: ModelConfig) -> Path:
    """A model folder of an object store, copied to this machine once: whole or not at all.

    The copy must have the contents that the model was pinned under; a model that was not pinned is pinned now.
    """
    from filelock import FileLock

    revision = model.revision if model.revision.startswith("sha256-") else _digest(model.id)
    target = CACHE / hashlib.sha256(f"{model.id}\0{revision}".encode()).hexdigest()[:32]
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            fs, root, names = _files(model.id)
            unfinished = Path(f"{target}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            for name in names:
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                with telling("model.id", f"{model.id}/{name}", "copied"):
                    fs.get_file(f"{root}/{name}", str(unfinished / name))
            if _digest(str(unfinished)) != revision:
                raise CheckpointError(f"{model.id} has changed since this run began: start it again")
            unfinished.rename(target)
    return target
