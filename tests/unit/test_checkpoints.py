"""Checkpoints are pinned by what they hold, fetched once, and what cannot be had is said in one sentence."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import fsspec
import pytest

from artsim import checkpoints
from artsim.checkpoints import CheckpointError, fetch, has_text_tower, pin, pinned
from artsim.config import CaptionConfig, GenerateConfig, ModelConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def folder_of(path: Path, **files: str) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in ({"config.json": "{}", "model.safetensors": "weights"} | files).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def model(path: object) -> ModelConfig:
    return ModelConfig(id=str(path))


def test_a_folder_is_pinned_by_what_it_holds(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a"), folder_of(tmp_path / "b")
    before = pin(model(first))
    assert before.revision == pin(model(second)).revision  # wherever it lies
    assert before.revision.startswith("sha256-")
    (first / ".cache").mkdir()
    (first / ".cache" / "download.metadata").write_text("when it was fetched")
    assert pin(model(first)) == before
    (first / "config.json").write_text("[]")
    changed = pin(model(first)).revision
    (first / "tokenizer.json").write_text("{}")
    assert len({before.revision, changed, pin(model(first)).revision}) == 3
    with pytest.raises(CheckpointError, match="does not hold the files that it held when it was pinned"):
        fetch(before)
    assert fetch(pin(model(first))) == first


def test_the_end_of_a_large_file_counts(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", **{"model.safetensors": "x" * 3_000_000})
    before = pin(model(folder))
    (folder / "model.safetensors").write_text("x" * 2_999_999 + "y")
    assert pin(model(folder)) != before


def test_a_relative_folder_is_pinned_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    here = pin(model("clip"))
    monkeypatch.chdir("/")
    assert here.id == str(tmp_path / "clip")
    assert fetch(here) == tmp_path / "clip"


def test_all_models_of_a_section_are_pinned(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a"), folder_of(tmp_path / "b", **{"config.json": "[]"})
    section = pinned(GenerateConfig(model=model(first), vae=model(second)))
    assert section.model == pin(model(first))
    assert section.vae == pin(model(second))
    assert pinned(CaptionConfig()) == CaptionConfig()  # a stand-in has nothing to pin


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "there is no such folder on this machine"),
        (["notes.txt"], "not a model folder, it has no config.json"),
        (["config.json"], "holds no weights named *.safetensors"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path, files: list[str] | None, said: str) -> None:
    folder = tmp_path / "model"
    if files is not None:
        folder.mkdir()
        for name in files:
            (folder / name).write_text("{}")
    with pytest.raises(CheckpointError) as error:
        fetch(pin(model(folder)))
    assert str(error.value).startswith(f"{folder}")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_with_pickled_weights_or_none_asked_for_will_do(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert fetch(model(folder)) == folder
    (folder / "pytorch_model.bin").unlink()
    assert fetch(model(folder), weights=()) == folder


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An object store with a model in memory://models/clip; counts what is read from it."""
    monkeypatch.setattr(checkpoints, "CACHE", tmp_path / "cache")
    store = fsspec.filesystem("memory")
    store.pipe({"/models/clip/config.json": b"{}", "/models/clip/text/model.safetensors": b"weights" * 9})
    yield store
    store.rm("/models", recursive=True)


def test_a_url_is_copied_once(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    get_file = type(bucket).get_file

    def counted(self: Any, source: str, target: str, **options: Any) -> None:
        copied.append(source)
        get_file(self, source, target, **options)

    monkeypatch.setattr(type(bucket), "get_file", counted)
    here = pin(model("memory://models/clip"))
    first, second = fetch(here), fetch(here)
    assert first == second
    assert (first / "text" / "model.safetensors").read_bytes() == b"weights" * 9
    assert sorted(copied) == ["/models/clip/config.json", "/models/clip/text/model.safetensors"]


def test_a_url_that_changes_gets_another_copy(bucket: Any) -> None:
    before = pin(model("memory://models/clip"))
    old = fetch(before)
    bucket.pipe("/models/clip/config.json", b"[]")
    assert fetch(before) == old
    assert (old / "config.json").read_text() == "{}"
    for changed in (pin(model("memory://models/clip")), model("memory://models/clip")):
        assert (fetch(changed) / "config.json").read_text() == "[]"


def test_a_url_that_changed_since_it_was_pinned_is_refused(bucket: Any, tmp_path: Path) -> None:
    before = pin(model("memory://models/clip"))
    bucket.pipe("/models/clip/config.json", b"[]")
    with pytest.raises(CheckpointError, match="has changed since this run began"):
        fetch(before)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix == ""]


def test_a_url_that_is_not_there_is_said(bucket: Any) -> None:
    with pytest.raises(CheckpointError, match=r"^memory://models/gone: there is no such folder"):
        pin(model("memory://models/gone"))


def test_a_text_tower_is_known_by_the_config(bucket: Any, tmp_path: Path) -> None:
    both = json.dumps({"text_config": {}, "vision_config": {}})
    assert has_text_tower(model(folder_of(tmp_path / "clip", **{"config.json": both})))
    assert not has_text_tower(model(folder_of(tmp_path / "vit", **{"config.json": '{"image_size": 224}'})))
    assert not has_text_tower(model("memory://models/clip"))
    assert has_text_tower(ModelConfig())  # the stand-in hashes words


class Hub(BaseHTTPRequestHandler):
    """A little of what huggingface.co answers: a model, an old one, a gated one; anything else is not found."""

    files: ClassVar[dict[str, dict[str, bytes]]] = {
        "art/new": {"config.json": b'{"text_config": {}, "vision_config": {}}', "model.safetensors": b"new"},
        "art/old": {"config.json": b"{}", "pytorch_model.bin": b"old", "tf_model.h5": b"not wanted"},
        "art/gated": {"config.json": b"{}", "model.safetensors": b"gated"},
    }

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.server.requests.append(f"{self.command} {path}")  # type: ignore[attr-defined]
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._describe("/".join(parts[2:4]), parts[4], parts[5])
        else:
            self._send("/".join(parts[:2]), parts[4])

    def _describe(self, name: str, what: str, revision: str) -> None:
        if name not in self.files:
            self._answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", COMMIT):
            self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif what == "revision":
            self._answer(200, json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode())
        else:
            found = [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in self.files[name].items()
            ]
            self._answer(200, json.dumps(found).encode())

    def _send(self, name: str, path: str) -> None:
        if name == "art/gated" and self.headers.get("Authorization") != "Bearer hf_let_me_in":
            self._answer(401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
            return
        data = self.files[name][path]
        self._answer(200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are kept in the server's list instead."""


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.requests = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


PROGRAM = """
import json, sys
from artsim.checkpoints import CheckpointError, fetch, has_text_tower, pin
from artsim.config import ModelConfig
answers = []
for name, revision in json.loads(sys.argv[1]):
    try:
        model = pin(ModelConfig(id=name, revision=revision))
        answers.append([model.revision, str(fetch(model)), has_text_tower(model)])
    except CheckpointError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


def ask(endpoint: str, home: Path, *models: tuple[str, str], **environment: str) -> list[Any]:
    """Pin and fetch models in a process of its own: the library reads its endpoint when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(models)],
        env=kept | settings,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[Any] = json.loads(done.stdout)
    return answers


def test_models_of_a_hub(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    new, old, gated, missing, revision = ask(
        endpoint,
        tmp_path,
        *(("art/new", "main"), ("art/old", "main"), ("art/gated", "main"), ("art/gone", "main"), ("art/new", "v9")),
    )
    assert new[0] == old[0] == COMMIT  # main, resolved
    assert new[1].endswith(f"/models--art--new/snapshots/{COMMIT}")
    assert sorted(os.listdir(new[1])) == ["config.json", "model.safetensors"]
    assert sorted(os.listdir(old[1])) == ["config.json", "pytorch_model.bin"]
    assert (new[2], old[2]) == (True, False)
    assert gated == (
        f"art/gated is gated: accept its licence at {endpoint}/art/gated, then set HF_TOKEN to a token of that "
        "account, on every machine"
    )
    assert missing == "art/gone: there is no such model, or HF_TOKEN does not give access to it; check the spelling"
    assert revision == "art/new has no revision v9: name a commit or a branch"


def test_a_token_opens_a_gated_model(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    (answer,) = ask(endpoint, tmp_path, ("art/gated", COMMIT), HF_TOKEN="hf_let_me_in")
    assert answer[0] == COMMIT
    assert sorted(os.listdir(answer[1])) == ["config.json", "model.safetensors"]


def test_weights_are_downloaded_once_and_serve_without_a_network(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    first, again = ask(endpoint, tmp_path, ("art/new", "main"), ("art/new", COMMIT))
    downloads = [request for request in hub.requests if request.startswith("GET") and "safetensors" in request]  # type: ignore[attr-defined]
    assert first == again
    assert len(downloads) == 1
    hub.shutdown()
    hub.server_close()
    there, gone = ask(endpoint, tmp_path, ("art/new", "main"), ("art/old", "main"), HF_HUB_OFFLINE="1")
    assert there == first
    assert gone.startswith("art/old cannot be downloaded (")
    assert gone.endswith("and is not in the cache: name a folder or fsspec URL that holds it, or mend the connection")
