"""Reads a Dockerfile, and makes a script of its build stage.

Only what this project's Dockerfile uses is understood. Anything else is an error, so that no step goes untried.
"""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One stage: what it is made from, and its instructions in order."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Image:
    """What the last stage says about running it."""

    environment: dict[str, str]
    user: str
    workdir: str
    healthcheck: list[str]
    entrypoint: list[str]
    command: list[str]
    labels: dict[str, str]
    copies: list[str]


def stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name))
        else:
            found[-1].steps.append((word, rest.strip()))
    return found


def image(stage: Stage) -> Image:
    """What the last stage says."""
    made = Image({}, "", "/", [], [], [], {}, [])
    for word, rest in stage.steps:
        match word:
            case "ENV":
                made.environment |= pairs(rest)
            case "LABEL":
                made.labels |= pairs(rest)
            case "USER":
                made.user = rest
            case "WORKDIR":
                made.workdir = rest
            case "COPY":
                made.copies.append(rest)
            case "HEALTHCHECK":
                made.healthcheck = json.loads(rest.partition("CMD ")[2])
            case "ENTRYPOINT":
                made.entrypoint = json.loads(rest)
            case "CMD":
                made.command = json.loads(rest)
            case "EXPOSE" | "STOPSIGNAL":
                pass
            case _:
                raise ValueError(f"what does `{word} {rest}` do in the last stage?")
    return made


def script(stage: Stage, context: Path, path: str) -> str:
    """The steps of a stage as a shell script, for a system whose root is `$root`."""
    shell, workdir, lines = ["/bin/sh", "-c"], "/", []
    for word, rest in stage.steps:
        match word:
            case "SHELL":
                shell = json.loads(rest)
            case "WORKDIR":
                workdir = rest
                lines.append(f"mkdir -p $root{workdir}")
            case "COPY" if rest == ". .":
                lines.append(f"cp -a {context}/. $root{workdir}/")
            case "RUN":
                command = re.sub(r"--mount=\S+\s+", "", rest)
                inside = [*shell, f"cd {workdir} && {command}"]
                lines.append(f'chroot $root env -i HOME="$HOME" PATH={path} {shlex.join(inside)}')
            case _:
                raise ValueError(f"what does `{word} {rest}` do in a build stage?")
    return "\n".join(lines)


def in_context(ignore: str) -> list[str]:
    """What a .dockerignore lets through that ignores all but a few names."""
    lines = [line for line in ignore.splitlines() if line and not line.startswith("#")]
    if lines[0] != "*" or not all(line.startswith("!") for line in lines[1:]):
        raise ValueError(".dockerignore is more than a list of what isn't ignored")
    return [line.removeprefix("!") for line in lines[1:]]


def pairs(text: str) -> dict[str, str]:
    """`NAME=value NAME="another value"`."""
    return dict(pair.split("=", 1) for pair in shlex.split(text))
