"""What a Dockerfile says, for tests where no engine runs."""

from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction and the stage that it belongs to; ARGs before the first FROM belong to none."""

    stage: str
    name: str
    value: str


def instructions(file: Path) -> list[Instruction]:
    """The instructions of a Dockerfile in their order, without comments and with their lines joined."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    found, stage = [], ""
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "FROM":
            stage = value.rsplit(" AS ", 1)[1]
        if name:
            found.append(Instruction(stage, name, " ".join(value.split())))
    return found


def build_steps(file: Path, **arguments: str) -> list[Instruction]:
    """What `docker build` would do for the last stage, from its base image on, with these build arguments."""
    steps = instructions(file)
    defaults = {name: default for step in steps if step.name == "ARG" for name, default in [step.value.split("=", 1)]}
    values = {name: default.strip('"') for name, default in defaults.items()} | arguments
    bases = {}
    for step in steps:
        if step.name == "FROM":
            base, name = step.value.split(" AS ")
            bases[name] = base.replace("${KIND}", values["KIND"])
    chain = [steps[-1].stage]
    while chain[0] in bases:
        chain.insert(0, bases[chain[0]])
    for name, value in values.items():
        steps = [step._replace(value=step.value.replace(f"${{{name}}}", value)) for step in steps]
    return [step for stage in chain[1:] for step in steps if step.stage == stage]
