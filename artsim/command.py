"""A job's command line: a YAML file, `section.key=value` above it, and every mistake told at once."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from artsim import log
from artsim.config import Config, ConfigError

LOCAL_PROFILE = Path(__file__).parent.parent / "jobs" / "local.yaml"
FULL_PROFILE = LOCAL_PROFILE.with_name("full.yaml")


@dataclass(frozen=True)
class Command:
    """What a job was asked to do: its settings and what may happen to a table that is there."""

    config: Config
    overwrite: bool = False
    retry_quarantine: bool = False


def parse_command(argv: Sequence[str] | None, description: str | None) -> Command:
    """Read a job's command line: `[--config FILE] [--overwrite] [--retry-quarantine] [section.key=value ...]`.

    Ends the process with every mistake on a line of its own where the settings cannot be used. From now on the process
    speaks as `log_format` says.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=LOCAL_PROFILE, help="YAML file with settings (jobs/local.yaml)")
    parser.add_argument("--overwrite", action="store_true", help="make a table of other settings anew")
    parser.add_argument("--retry-quarantine", action="store_true", help="try the rows in quarantine again")
    parser.add_argument("settings", nargs="*", metavar="section.key=value", help="settings that override the file's")
    arguments = parser.parse_intermixed_args(argv)
    try:
        config = load_config(arguments.config, arguments.settings)
    except ConfigError as error:
        parser.exit(2, f"{error}\n")
    if "://" not in config.root and not os.path.isabs(config.root):
        if "RAY_ADDRESS" in os.environ:
            parser.exit(
                2, f"root = {config.root}: on a cluster, name an absolute folder or a URL that all machines reach\n"
            )
        config = config.model_copy(update={"root": os.path.abspath(os.path.expanduser(config.root))})
    log.configure(config.log_format, job=log.job_name())
    return Command(config, arguments.overwrite, arguments.retry_quarantine)


def load_config(file: Path | None, settings: Sequence[str] = ()) -> Config:
    """The settings of a YAML file, overridden by `section.key=value`; raises ConfigError with all mistakes."""
    tree = _merge(Config().model_dump(), _read_yaml(file))
    wrong = [f"{setting}: write section.key=value" for setting in settings if "=" not in setting]
    pairs = [setting.split("=", 1) for setting in settings if "=" in setting]
    for path, text in pairs:
        wrong += _put(tree, path, text)
    given = {path for path, _ in pairs}
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        for mistake in error.errors():
            wrong.append(_sentence(mistake, str(file) if file and _path(mistake) not in given else "command line"))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return config


def _read_yaml(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"--config {file}: cannot be read as YAML ({error})") from error
    if not isinstance(tree or {}, dict):
        raise ConfigError(f"--config {file}: must hold sections and settings, not {type(tree).__name__}")
    return tree or {}


def _merge(defaults: dict[str, Any], tree: dict[str, Any]) -> dict[str, Any]:
    """Defaults, changed by what a file says; a section that says nothing changes nothing."""
    merged = dict(defaults)
    for name, value in tree.items():
        default = defaults.get(name)
        merged[name] = _merge(default, value or {}) if isinstance(default, dict) and _is_section(value) else value
    return merged


def _is_section(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _put(tree: dict[str, Any], path: str, text: str) -> list[str]:
    *sections, name = path.split(".")
    try:
        value = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        value = text
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            return [f"{path}: {section} is a setting, not a section"]
    tree[name] = value
    return []


def _path(mistake: Any) -> str:
    return ".".join(str(part) for part in mistake["loc"] if not isinstance(part, int))


def _sentence(mistake: Any, origin: str) -> str:
    """`letterbox.sizes = [0]: what would be right (local.yaml)`."""
    path, got = _path(mistake), mistake["input"]
    if mistake["type"] == "extra_forbidden":
        known = _names_beside(mistake["loc"])
        near = difflib.get_close_matches(str(mistake["loc"][-1]), known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return f"{path} = {got}: no such setting; {advice} ({origin})"
    message = mistake["msg"].removeprefix("Value error, ")
    if isinstance(got, dict):
        return f"{path}: {message}" if path else message
    return f"{path} = {got}: {message} ({origin})"


def _names_beside(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Config
    for part in location[:-1]:
        section = section.model_fields[str(part)].annotation
    return list(section.model_fields)
