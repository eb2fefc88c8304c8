"""One Ray, one folder of paintings and one finished root for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from artsim.config import GalleryConfig
from artsim.gallery import paint
from tests.cluster.programs import NUM_PAINTINGS, run


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=500_000_000, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small paintings, and a text file that says it is one."""
    folder = tmp_path_factory.mktemp("paintings")
    for index in range(NUM_PAINTINGS):
        painting = paint(index, GalleryConfig(max_side_px=320))
        (folder / painting.path).parent.mkdir(exist_ok=True)
        (folder / painting.path).write_bytes(painting.image)
    (folder / "Baroque" / "nobody_words.jpg").write_text("this is no picture")
    return folder


@pytest.fixture(scope="session")
def whole(paintings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A root on which jobs/run.py ran from the source to the report, and what it printed."""
    root = tmp_path_factory.mktemp("whole")
    return root, run("run", root, f"source.uri={paintings}", "max_failure_rate=0.1")
