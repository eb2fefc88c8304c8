"""What several pytest processes need and one of them makes: `make test-full` finds it where `make test` left it."""

import hashlib
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

_REPOSITORY = Path(__file__).resolve().parents[1]
_CODE = ("artsim", "jobs", "serve", "tests", "cluster", "pyproject.toml")


def made_once(config: pytest.Config, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` fills, made anew when any file of the project differs; for reading only."""
    assert config.cache is not None
    folder = config.cache.mkdir("made") / name
    done = folder / "of"
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists() or done.read_text() != _digest():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.write_text(_digest())
    return folder


@cache
def _digest() -> str:
    digest = hashlib.sha256()
    for top in _CODE:
        files = [_REPOSITORY / top, *(_REPOSITORY / top).rglob("*")]
        for file in sorted(path for path in files if path.is_file() and "__pycache__" not in path.parts):
            digest.update(
                f"{file.relative_to(_REPOSITORY)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode()
            )
    return digest.hexdigest()
