"""What all tests share: where the shared data lies, one Ray, one folder of paintings and one finished root."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.made import made_once
from tests.servers import serve_s3

os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"


def shared(path: str) -> Path:
    """A file or folder of ../shared; skips the test where it is not there."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"needs ../shared/{path}")
    return found


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real S3 server with an empty bucket `art`, which this process and those that it starts know."""
    with serve_s3(tmp_path_factory.mktemp("s3")) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    _start_ray()
    yield
    _stop_ray()


@pytest.fixture
def new_cluster(cluster: None) -> None:
    """The tests' Ray anew: a job that leaves rows over ends it, and what it starts then has no GPU and no metrics."""
    _stop_ray()
    _start_ray()


def _start_ray() -> None:
    import ray  # most tests need none

    ray.init(
        "local",
        num_cpus=2,
        num_gpus=1,  # a promise that nobody checks: stages on GPUs are planned and placed as if it were there
        include_dashboard=False,
        object_store_memory=500_000_000,
        log_to_driver=False,
        _system_config={"metrics_report_interval_ms": 1000},
    )


def _stop_ray() -> None:
    import ray

    ray.shutdown()


@pytest.fixture(scope="session")
def paintings(pytestconfig: pytest.Config) -> Path:
    """A folder of small paintings, and a text file that says it is one."""
    return made_once(pytestconfig, "paintings", _paint) / "paintings"


def _paint(folder: Path) -> None:
    from artsim.config import GalleryConfig
    from artsim.gallery import paint
    from tests.cluster.programs import NUM_PAINTINGS

    for index in range(NUM_PAINTINGS):
        painting = paint(index, GalleryConfig(max_side_px=320))
        file = folder / "paintings" / painting.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(painting.image)
    (folder / "paintings/Baroque/nobody_words.jpg").write_text("this is no picture")


@pytest.fixture(scope="session")
def whole(pytestconfig: pytest.Config, paintings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A root on which jobs/run.py ran from the source to the report, and what it printed."""
    from tests.cluster.programs import run

    def make(folder: Path) -> None:
        output = run("run", folder / "root", f"source.uri={paintings}", "max_failure_rate=0.1")
        (folder / "output").write_text(output)

    made, root = made_once(pytestconfig, "whole", make), tmp_path_factory.mktemp("whole")
    shutil.copytree(made / "root", root, dirs_exist_ok=True)
    return root, (made / "output").read_text()
