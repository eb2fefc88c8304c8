"""Settings: a file, the command line above it, and every mistake in one message."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ray._private.label_utils import validate_label_selector

from artsim.command import LOCAL_PROFILE, load_config, parse_command
from artsim.config import Config, ConfigError, Section, SplitConfig, Workers
from artsim.pipeline.cluster import may_run


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "local.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def mistakes(file: Path | None, *settings: str) -> list[str]:
    with pytest.raises(ConfigError) as wrong:
        load_config(file, settings)
    return str(wrong.value).splitlines()


def sections(section: Section) -> list[Section]:
    inner = [value for _, value in section if isinstance(value, Section)]
    return [section, *(found for value in inner for found in sections(value))]


def test_no_file_and_an_empty_file_give_the_defaults(tmp_path: Path) -> None:
    assert load_config(None) == load_config(written(tmp_path, "")) == load_config(written(tmp_path, "letterbox:\n"))
    assert load_config(None).letterbox == Config().letterbox


def test_the_local_profile_is_valid() -> None:
    assert load_config(LOCAL_PROFILE).num_buckets >= 1


def test_the_command_line_wins_over_the_file_and_the_last_word_over_the_first(tmp_path: Path) -> None:
    file = written(tmp_path, "seed: 1\nletterbox: {sizes: [96, 64], jpeg_quality: 80}\ngenerate: {size: 96}\n")
    config = load_config(file, ["letterbox.jpeg_quality=70", "embed.size=64", "seed=2", "seed=3"])
    assert (config.seed, config.letterbox.sizes, config.letterbox.jpeg_quality) == (3, (96, 64), 70)
    assert (config.generate.size, config.embed.size) == (96, 64)


def test_what_is_not_mentioned_keeps_its_own_section_s_default(tmp_path: Path) -> None:
    file = written(tmp_path, "split: {workers: {batch_size: 8}}\ncaption: {workers: {}}\nprompt:\n")
    config = load_config(file, ["source.workers.num_cpus=0.5", "prompt.workers.num_gpus=1"])
    assert config.split.workers == Config().split.workers.model_copy(update={"batch_size": 8})
    assert config.source.workers == Config().source.workers.model_copy(update={"num_cpus": 0.5})
    assert config.prompt.workers == Config().prompt.workers.model_copy(update={"num_gpus": 1.0})
    assert config.caption.workers == Config().caption.workers != Workers()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("root=s3://bucket/a=b", "s3://bucket/a=b"),
        ("root=/data/x y", "/data/x y"),
        ("root=/data/@home", "/data/@home"),
        ("root='@home'", str(Path("@home").absolute())),
        ("root=2024-13-45", str(Path("2024-13-45").absolute())),
        ("root=a/../b", str(Path("b").absolute())),
        ("seed=0", str(Path("runs/demo").absolute())),
        ("root=~/art", str(Path.home() / "art")),
    ],
)
def test_a_command_s_root_is_absolute_and_taken_as_it_is_typed(
    setting: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert parse_command([setting], None).config.root == value


def test_values_have_the_types_of_their_settings() -> None:
    settings = ["letterbox.sizes=[64, 96]", "generate.size=96", "embed.size=64", "embed.tokens=no", "training.lr=1e-3"]
    settings += ["training.weight_decay=0", "triplets.tiers=[any, original]", "head.preset=pooled"]
    config = load_config(None, settings)
    assert config.letterbox.sizes == (64, 96)
    assert config.embed.tokens is False
    assert (config.training.lr, config.training.weight_decay) == (0.001, 0.0)
    assert isinstance(config.training.weight_decay, float)
    assert config.triplets.tiers == ("any", "original")


def test_every_mistake_is_told_with_setting_value_advice_and_origin(tmp_path: Path) -> None:
    file = written(tmp_path, "seed: many\nletterbox: {size: 5, jpeg_quality: 101}\nleterbox: {}\nnum_buckets: 0\n")
    told = mistakes(
        file, "embed.tokens=perhaps", "generate.workers.bath_size=1", "split.group=painter", "nonsense", "x=1"
    )
    expected = [
        ("nonsense:", "section.key=value", ""),
        ("seed = many:", "integer", f"({file})"),
        ("letterbox.size = 5:", "did you mean sizes?", f"({file})"),
        ("letterbox.jpeg_quality = 101:", "less than or equal to 100", f"({file})"),
        ("leterbox = {}:", "did you mean letterbox?", f"({file})"),
        ("num_buckets = 0:", "greater than or equal to 1", f"({file})"),
        ("embed.tokens = perhaps:", "boolean", "(command line)"),
        ("generate.workers.bath_size = 1:", "did you mean batch_size?", "(command line)"),
        ("split.group = painter:", "'component', 'artist' or 'genre'", "(command line)"),
        ("x = 1:", "known are root, num_buckets, seed", "(command line)"),
    ]
    for start, advice, origin in expected:
        (line,) = [line for line in told if line.startswith(start)]
        assert advice in line
        assert line.endswith(origin)
    assert len(told) == len(expected)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("generate.size=512", "generate.size = 512: must be one of letterbox.sizes = [1024, 768]"),
        ("letterbox.sizes=[]", "at least one size, and each only once"),
        ("letterbox.sizes=[768,768]", "at least one size, and each only once"),
        ("letterbox.sizes=[63]", "greater than or equal to 64"),
        ("triplets.tiers=[any,any]", "each tier only once"),
        ("triplets.tiers=[]", "at least 1 item"),
        ("head.temperature=.nan", "finite"),
        ("training.lr=.inf", "finite"),
        ("training.name=..", "pattern"),
        ("training.name=a/b", "pattern"),
        ("seed.x=1", "seed is a setting, not a section"),
        ("letterbox=5", "dictionary"),
        ("root=", "string"),
    ],
)
def test_what_cannot_work_is_refused(setting: str, sentence: str) -> None:
    (told,) = mistakes(None, setting)
    assert sentence in told
    assert told.startswith(setting.split("=")[0])


def test_all_that_does_not_fit_together_in_a_section_is_told() -> None:
    (told,) = mistakes(None, "head.temperature=3", "head.caption_fusion=true", "head.num_heads=7")
    assert told.startswith("head: ")
    for words in ("temperature must lie", "caption_fusion needs preset=pooled", "multiple of 4 * num_heads"):
        assert words in told


@pytest.mark.parametrize("text", ["a: [", "\t- x", "- 1\n- 2", "just words", b"root: \xe9\xff", "root: 2024-13-45"])
def test_a_file_that_holds_no_settings_is_named(text: str | bytes, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    assert mistakes(file)[0].startswith(f"--config {file}: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for file in (tmp_path / "none.yaml", tmp_path):
        (told,) = mistakes(file)
        assert told.startswith(f"--config {file}: ")


def test_settings_are_frozen() -> None:
    config = load_config(None)
    for section in sections(config):
        name = next(iter(type(section).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, getattr(section, name))


def test_a_head_over_tokens_needs_tokens() -> None:
    assert mistakes(None, "embed.tokens=no") == ["head.preset = tokens: needs embed.tokens, or set head.preset=pooled"]
    assert load_config(None, ["embed.tokens=no", "head.preset=pooled"]).embed.tokens is False


def test_what_a_model_cannot_work_with_is_told_before_it_is_loaded() -> None:
    told = mistakes(None, "generate.model.id=x/y", "generate.size=100", "generate.moderate_strength=0.03")
    assert "size must be a multiple of 8 px" in told[0]
    assert "moderate_strength must leave one of num_inference_steps or more" in told[0]
    assert "model.id needs tokenizer.id" in mistakes(None, "prompt.model.id=x/y")[0]
    assert load_config(None, ["generate.size=100", "letterbox.sizes=[100]", "embed.size=100"]).generate.size == 100


def test_every_section_refuses_unknown_settings() -> None:
    for section in sections(Config()):
        with pytest.raises(ValidationError, match="Extra inputs"):
            type(section).model_validate({"surely_not_a_setting": 1})


def test_shares_of_a_split_sum_to_one() -> None:
    shares: dict[str, Any] = {name: SplitConfig(configuration=name).shares for name in ("a70", "b80")}
    assert shares["a70"] == {"train": 0.70, "val": 0.15, "test": 0.15}
    assert shares["b80"] == {"train": 0.80, "val": 0.10, "test": 0.10}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("[fog, palette]", "no approach is called fog: known are palette, light, technique"),
        ("[light, palette, technique, details, weather]", "leaves no approach of the level moderate to train with"),
    ],
)
def test_held_out_approaches_are_known_and_leave_some(setting: str, told: str) -> None:
    (line,) = mistakes(None, f"triplets.held_out_approaches={setting}")
    assert line.startswith("triplets.held_out_approaches = ")
    assert told in line
    assert load_config(None, ["triplets.held_out_approaches=[]"]).triplets.held_out_approaches == ()


def test_a_command_takes_options_and_settings_in_any_order(tmp_path: Path) -> None:
    file = written(tmp_path, "seed: 1\n")
    command = parse_command(["seed=2", "--overwrite", "--config", str(file), "num_buckets=8"], None)
    assert (command.config.seed, command.config.num_buckets) == (2, 8)
    assert (command.overwrite, command.retry_quarantine) == (True, False)
    assert parse_command(["--retry-quarantine"], None).retry_quarantine


def test_a_wrong_command_ends_with_code_2_and_all_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_command(["seed=x", "letterbox.sise=1"], None)
    assert ended.value.code == 2
    assert [line.split(" =")[0] for line in capsys.readouterr().err.splitlines()] == ["seed", "letterbox.sise"]


def test_a_cluster_needs_a_root_that_all_machines_reach(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://nowhere")
    with pytest.raises(SystemExit):
        parse_command(["root=runs/demo"], None)
    assert "root = runs/demo: on a cluster, name an absolute folder or a URL" in capsys.readouterr().err
    assert parse_command(["root=s3://bucket/art"], None).config.root == "s3://bucket/art"


def test_workers_that_contradict_themselves_are_refused() -> None:
    wrong = mistakes(
        None,
        "generate.workers.num_workers=2",
        "generate.workers.min_workers=3",
        "caption.workers.num_gpus=1.5",
        "embed.workers.node_labels={kind: 'cpu or gpu'}",
        "letterbox.workers.node_labels={a b: cpu}",
    )
    assert wrong == [
        "letterbox.workers: node_labels = {a b: cpu}: write it as kind: cpu, kind: '!gpu' or kind: 'in(a,b)'",
        "caption.workers: num_gpus = 1.5: a worker has a part of one GPU, or whole ones",
        "generate.workers: min_workers = 3 is more than num_workers = 2",
        "embed.workers: node_labels = {kind: cpu or gpu}: write it as kind: cpu, kind: '!gpu' or kind: 'in(a,b)'",
    ]


@pytest.mark.parametrize("label", ["cpu", "!cpu", "in(cpu, spare)", "!in(gpu,tpu)"])
def test_machines_are_named_in_ray_s_words(label: str) -> None:
    validate_label_selector({"kind": label})  # raises where Ray would
    config = load_config(None, [f"letterbox.workers.node_labels={{kind: '{label}', ray.io/market-type: spot}}"])
    workers = config.letterbox.workers
    assert workers.node_labels == {"kind": label, "ray.io/market-type": "spot"}
    spot = {"ray.io/market-type": "spot"}
    assert may_run({"kind": "cpu"} | spot, workers.node_labels) == (label != "!cpu")
    assert may_run(spot, workers.node_labels) == label.startswith("!")
    assert not may_run({"kind": "gpu"} | spot, workers.node_labels) or label == "!cpu"
    assert not may_run({"kind": "cpu"}, workers.node_labels)
