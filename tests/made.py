"""What several pytest processes need and one of them makes: `make test-full` finds it where `make test` left it."""

import hashlib
import shutil
import sysconfig
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

_REPOSITORY = Path(__file__).resolve().parents[1]
_CODE = ("artsim", "jobs", "serve", "tests", "cluster")
_KEPT_S = 86_400
"""For how long what other code made is kept: another process may still read it."""


def made_once(config: pytest.Config, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` fills, one for this code and these packages; for reading only."""
    assert config.cache is not None
    kept = config.cache.mkdir("made")
    folder = kept / _digest() / name
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "done").exists():
            for other in kept.iterdir():
                if other != folder.parent and time.time() - other.stat().st_mtime > _KEPT_S:
                    shutil.rmtree(other, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "done").touch()
    return folder


@cache
def _digest() -> str:
    """Of all that decides what is made: code, packages, and the checkout's place, which tables name."""
    files = [path for top in _CODE for path in (_REPOSITORY / top).rglob("*") if path.is_file()]
    digests = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.suffix != ".pyc"}
    # By the folders of what is installed: what importlib.metadata finds depends on what is imported.
    packages = sorted(path.name for path in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))
    return hashlib.sha256(f"{sorted(digests.items())} {packages}".encode()).hexdigest()[:16]
