"""`artsim compare` on a real model folder, with and without a calibration."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from artsim.calibration import Calibration, calibrate
from artsim.cli import app
from artsim.config import HeadConfig, IndexConfig
from artsim.images import encode_jpeg
from artsim.index import FACTS
from artsim.indexing import Builder, settings_of
from artsim.models import fetch, publish
from artsim.scorer import Scorer
from artsim.siamese import build_head, save_model
from artsim.store import Store

INFO = {
    "name": "a70",
    "fingerprint": "f1",
    "letterbox": {"sizes": [64]},
    "embed": {"size": 64, "tokens": False},
    "max_pixels": 10**6,
}


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder with a head of random weights."""
    torch.manual_seed(0)
    head = build_head(HeadConfig(preset="pooled", num_layers=1, hidden_size=16), 512, None, None)
    save_model(tmp_path / "model", head, INFO)
    return str(tmp_path / "model")


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{name}.jpg" for name in ("first", "second")]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
        path.write_bytes(encode_jpeg(pixels.repeat(20, axis=0).repeat(20, axis=1), 95))
    return [str(path) for path in paths]


def calibration() -> Calibration:
    rng = np.random.default_rng(0)
    kinds = {"other_genre": 0.1, "same_genre": 0.2, "same_artist": 0.4}
    return calibrate(
        np.tanh(rng.normal(2, 0.5, 900)), {kind: np.tanh(rng.normal(mean, 0.4, 900)) for kind, mean in kinds.items()}
    )


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments])


def test_a_calibrated_model_says_what_its_similarity_means(model: str, pictures: list[str]) -> None:
    known = calibration()
    Store(model).write_json("calibration.json", known.to_json())
    answer = json.loads(compare(*pictures, "--model", model, "--json").output)
    similarity = answer["similarity"]
    assert answer == {
        "similarity": similarity,
        "model": model,
        "recipe": "f1",
        "percentiles": pytest.approx(known.percentiles(similarity), abs=1e-4),
        "probability": pytest.approx(float(known.probability(similarity)), abs=1e-4),
        "prior": 0.5,
        "map": None,
    }
    rare = json.loads(compare(*pictures, "--model", model, "--json", "--prior", "0.01").output)
    odds = [found["probability"] / (1 - found["probability"]) for found in (answer, rare)]
    assert odds[1] == pytest.approx(odds[0] / 99)

    lines = compare(pictures[0], pictures[0], "--model", model, "--prior", "0.25").output.splitlines()
    assert lines[0] == f"1.0000  {pictures[0]} and {pictures[0]}"
    assert lines[1] == (
        "more alike than >99.9% of unrelated pairs, >99.9% of pairs of one genre, >99.9% of pairs by one artist"
    )
    likely = float(known.probability(1.0, 0.25))
    assert 0.99 < likely < 0.9999
    assert lines[2] == f"{likely:.1%} likely to be an original and its version, if 25% of all pairs are (--prior 0.25)"
    assert not any(word in "".join(lines).lower() for word in ("plagiar", "copy", "copies", "forge"))


def test_a_model_that_was_not_calibrated_gives_the_cosine_alone(model: str, pictures: list[str]) -> None:
    answer = json.loads(compare(*pictures, "--model", model, "--json").output)
    assert answer == {
        "similarity": answer["similarity"],
        "model": model,
        "recipe": "f1",
        "percentiles": None,
        "probability": None,
        "prior": None,
        "map": None,
    }
    lines = compare(*pictures, "--model", model).output.splitlines()
    assert lines[0] == f"{answer['similarity']:.4f}  {pictures[0]} and {pictures[1]}"
    assert lines[1:] == ["not calibrated: jobs/evaluate.py measures what that means"]


@pytest.mark.parametrize("prior", ["0", "1", "1.5", "-1", "nan"])
def test_a_wrong_prior_is_one_sentence(prior: str, pictures: list[str]) -> None:
    result = compare(*pictures, "--model", "nowhere", f"--prior={prior}")
    assert result.exit_code == 1
    assert result.output.strip() == (
        f"error: a prior of {prior}: must lie between 0 and 1, such as 0.5 where half of all pairs are"
    )


@pytest.mark.parametrize("broken", [b"{", b"\xff", b"[]", b'{"curve": []}'])
def test_a_broken_calibration_is_one_sentence(broken: bytes, model: str, pictures: list[str]) -> None:
    Store(model).write("calibration.json", broken)
    result = compare(*pictures, "--model", model)
    assert result.exit_code == 1
    assert result.output.startswith(f"error: {model}: calibration.json is broken")
    assert len(result.output.strip().splitlines()) == 1


@pytest.fixture
def indexed(model: str, pictures: list[str]) -> str:
    """The model with an index of two paintings, which are the pictures."""
    embeddings = Scorer.load(model).embed([(path, Path(path).read_bytes()) for path in pictures])
    rows = [
        {"id": f"{genre}/nobody_{name}", "genre": genre, "artist": "nobody", "title": name, "width": 120, "height": 80}
        for genre, name in (("Baroque", "first"), ("Cubism", "second"))
    ]
    with Builder(settings_of(IndexConfig(), 2, 512), 2) as builder:
        builder.add(pa.Table.from_pylist(rows, FACTS), embeddings)
        builder.publish(f"{model}/index", "f1", {})
    return model


def search(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["search", *arguments])


def test_a_search_names_the_nearest_paintings_and_what_that_means(indexed: str, pictures: list[str]) -> None:
    first, second = (Path(path).read_bytes() for path in pictures)
    similarity = Scorer.load(indexed).compare(("first", first), ("second", second))
    known = calibration()
    Store(indexed).write_json("calibration.json", known.to_json())
    answer = json.loads(search(pictures[1], "--model", indexed, "--json").output)
    assert [hit["id"] for hit in answer["results"]] == ["Cubism/nobody_second", "Baroque/nobody_first"]
    assert answer["results"][1] == {
        "id": "Baroque/nobody_first",
        "genre": "Baroque",
        "artist": "nobody",
        "title": "first",
        "width": 120,
        "height": 80,
        "similarity": pytest.approx(similarity, abs=1e-5),
        "percentiles": pytest.approx(known.percentiles(similarity), abs=1e-3),
        "probability": pytest.approx(float(known.probability(similarity)), abs=1e-3),
    }
    assert (answer["num_searched"], answer["model"], answer["recipe"]) == (2, indexed, "f1")
    lines = search(pictures[1], "--model", indexed, "--genre", "Baroque", "-k", "5").output.splitlines()
    assert lines[0] == f"the 1 most like {pictures[1]} among 1 paintings:"
    assert lines[1] == f"{answer['results'][1]['similarity']:.4f}  Baroque/nobody_first"


def test_a_search_that_cannot_be_is_one_sentence(model: str, pictures: list[str]) -> None:
    missing = search(pictures[0], "--model", model)
    assert (missing.exit_code, missing.output) == (1, f"error: {model}: has no index; jobs/index.py makes one\n")


def test_a_search_for_an_unknown_genre_names_near_ones(indexed: str, pictures: list[str]) -> None:
    unknown = search(pictures[0], "--model", indexed, "--genre", "cubism")
    assert unknown.exit_code == 1
    assert unknown.output == "error: genre 'cubism': no painting in the index has it; did you mean Cubism?\n"


def test_a_model_that_is_trained_anew_loses_its_calibration_and_index(indexed: str, tmp_path: Path) -> None:
    model = indexed
    Store(model).write_json("calibration.json", calibration().to_json())
    with fetch(model) as local:
        assert {path.name for path in local.iterdir()} == {"model.safetensors", "config.json", "calibration.json"}
        publish(local, model)
    assert {path.name for path in Path(model).iterdir()} == {"model.safetensors", "config.json"}


def test_a_map_shows_where_they_match(model: str, pictures: list[str], tmp_path: Path) -> None:
    place = tmp_path / "maps" / "out.png"
    plain = json.loads(compare(pictures[0], pictures[0], "--model", model, "--json").output)
    answer = json.loads(compare(pictures[0], pictures[0], "--model", model, "--json", "--map", str(place)).output)
    found = answer.pop("map")
    assert answer | {"map": None} == plain
    assert found["grid"] == 7
    assert len(found["matches"]) > 20
    assert all(match["first"] == match["second"] and match["similarity"] == 1 for match in found["matches"])
    with Image.open(place) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width == pytest.approx(1600, abs=2)
    assert [path.name for path in place.parent.iterdir()] == ["out.png"]
    lines = compare(pictures[0], pictures[0], "--model", model, "--map", str(place)).output.splitlines()
    assert lines[-1] == f"{len(found['matches'])} of 49 patches match: {place} shows where"


def test_a_map_that_cannot_be_made_is_one_sentence_and_leaves_nothing(
    model: str, pictures: list[str], tmp_path: Path
) -> None:
    place, broken = tmp_path / "out.png", tmp_path / "broken.jpg"
    broken.write_bytes(Path(pictures[0]).read_bytes()[:300])
    blocked = tmp_path / "file"
    blocked.touch()
    wrong = {
        (pictures[0], str(broken), str(place)): f"error: {broken}: ",
        (*pictures, str(tmp_path / "out.jpg")): f"error: --map {tmp_path / 'out.jpg'}: is written as PNG",
        (*pictures, str(blocked / "out.png")): f"error: --map: {blocked / 'out.png'} cannot be written",
    }
    before = set(tmp_path.iterdir())
    for (first, second, out), message in wrong.items():
        result = compare(first, second, "--model", model, "--map", out)
        assert result.exit_code == 1
        assert result.output.startswith(message)
        assert len(result.output.strip().splitlines()) == 1
    assert set(tmp_path.iterdir()) == before
