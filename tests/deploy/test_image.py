"""The Dockerfile's own steps, and what they make."""

import os
import shutil
import signal
import sys
from pathlib import Path

import yaml

import dockerfile
from claims import Failed, check, equal, eventually
from sandbox import GUARD, ROOT, TARGET, container, in_disposable_root, read_until, run

IMAGE = TARGET / "image"
ETC = ROOT / "deploy" / "compose" / "config"
APP = ["-m", "uvicorn", "--app-dir", str(ROOT / "examples" / "fastapi"), "--port", "8000", "app:app"]
URL = "http://127.0.0.1:8080"
NAMES = "127.0.0.1 localhost\n127.0.0.1 app\n"

CARGO = """#!/bin/sh
# Stands for the build itself, which takes minutes: the real cargo reads the manifest and looks for the sources that it
# names, and a program that was built before is what comes out.
set -e
test "$*" = "build --locked --release --bin sluicegate"
SYSROOT/bin/cargo metadata --no-deps --offline --format-version 1 > /dev/null
install -D /stand-in/sluicegate target/release/sluicegate
"""


def image() -> dockerfile.Image:
    """What the Dockerfile says about running the image."""
    return dockerfile.image(dockerfile.stages((ROOT / "Dockerfile").read_text())[-1])


def built(binary: Path) -> Path:
    """The root of the image, as the steps of the Dockerfile make it."""
    build, last = dockerfile.stages((ROOT / "Dockerfile").read_text())
    equal((last.base, image().copies), ("scratch", [f"--from={build.name} /out /"]), "what the image is made of")
    work = TARGET / "build"
    for folder in (work, IMAGE):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    context, stand_in = work / "context", work / "stand-in"
    context.mkdir()
    stand_in.mkdir()
    for name in dockerfile.in_context((ROOT / ".dockerignore").read_text()):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, context / name)
        elif source.exists():
            shutil.copy(source, context)
    shutil.copy(binary, stand_in / "sluicegate")
    (stand_in / "cargo").write_text(CARGO.replace("SYSROOT", run("rustc", "--print", "sysroot").strip()))
    (stand_in / "cargo").chmod(0o755)
    script = dockerfile.script(build, context, "/stand-in:/usr/sbin:/usr/bin:/sbin:/bin")
    in_disposable_root(f"cp -a {stand_in} $root/stand-in\n{script}\ncp -a $root/out/. {IMAGE}/\n")
    return IMAGE


def test_the_steps_make_a_root_with_nothing_but_the_program(binary: Path) -> None:
    """The Dockerfile's steps run, and make a small root without a shell"""
    root = built(binary)
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    for name in ("usr/local/bin/sluicegate", "etc/ssl/certs/ca-certificates.crt", "etc/passwd", "etc/nsswitch.conf"):
        check(name in files, f"{name} is there, among {sorted(files)}")
    others = {name for name in files if not name.startswith("etc/") and ".so" not in name}
    equal(others, {"usr/local/bin/sluicegate"}, "programs")
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    check(size < 40 << 20, f"the image has less than 40 MiB, not {size >> 20}")
    check((root / image().workdir.lstrip("/")).is_dir(), "its working directory is there")


def test_it_serves_as_process_1_without_rights_on_a_read_only_root(binary: Path) -> None:
    """The image serves examples/fastapi by name, as compose.yaml has it, without rights and on a read-only root"""
    with container(image(), built(binary), ETC, NAMES) as running:
        running.beside(sys.executable, *APP)
        running.ready()
        eventually("the application answers", lambda: running.get(f"{URL}/rows?count=1")[0] == 200, GUARD)
        equal(running.status("NSpid")[-1], "1", "its number")
        equal((running.status("Uid"), running.status("Gid")), (["65532"] * 4, ["65532"] * 4), "its user and group")
        equal(running.status("CapEff"), ["0" * 16], "its capabilities")
        mounts = [line.split() for line in Path(f"/proc/{running.pid}/mounts").read_text().splitlines()]
        options = {mount[1]: mount[3].split(",") for mount in mounts}
        check("ro" in options["/"], f"its root is read-only: {options}")
        curl = running.beside("curl", "--silent", "--no-buffer", f"{URL}/hello")
        read_until(curl, b"Hello ")
        equal(read_until(curl, b"!"), b"World !", "the rest of the stream")


def test_sigterm_lets_a_stream_finish(binary: Path) -> None:
    """SIGTERM to process 1 turns its health check, lets an open stream finish, and ends with status 0"""
    with container(image(), built(binary), ETC, NAMES) as running:
        running.beside(sys.executable, *APP)
        running.ready()
        eventually("the application answers", lambda: running.get(f"{URL}/rows?count=1")[0] == 200, GUARD)
        curl = running.beside("curl", "--silent", "--no-buffer", f"{URL}/hello")
        read_until(curl, b"Hello ")
        running.signal(signal.SIGTERM)
        eventually("its health check fails", lambda: running.health().returncode != 0, GUARD)
        equal(running.health().stderr, "shutting down\n", "what the health check says")
        equal(read_until(curl, b"!"), b"World !", "the rest of the stream")
        equal(curl.wait(GUARD), 0, "curl's exit code")
        equal(running.exit_code(), 0, "the container's exit code")


def test_it_leaves_no_zombies(binary: Path) -> None:
    """Health checks leave no process behind, neither running nor dead"""
    with container(image(), built(binary), ETC) as running:
        running.ready()
        for _ in range(5):
            equal(running.health().returncode, 0, "the health check's exit code")
        space = os.readlink(f"/proc/{running.pid}/ns/pid")
        inside = [path.name for path in Path("/proc").glob("[0-9]*") if namespace(path) == space]
        equal(inside, [str(running.pid)], "processes of the container")


def namespace(process: Path) -> str:
    """The process namespace that a process is in."""
    try:
        return os.readlink(process / "ns" / "pid")
    except OSError:
        return ""


def test_probes_of_kubernetes_are_answered(binary: Path) -> None:
    """What deploy/kubernetes probes and configures works in the image"""
    deployment = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "deployment.yaml").read_text())
    spec = deployment["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in spec["ports"]}
    made = image()
    made.environment |= {variable["name"]: variable["value"] for variable in spec["env"]}
    with container(made, built(binary), ROOT / "deploy" / "kubernetes" / "config") as running:
        running.ready()
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = spec[name]["httpGet"]
            status, _ = running.get(f"http://127.0.0.1:{ports[probe['port']]}{probe['path']}")
            equal(status, 200, name)
        # No application runs here, which is the gateway's own answer to tell.
        equal(running.get(f"http://127.0.0.1:{ports['http']}/")[0], 403, "the status of a path that no route has")


def test_a_missing_configuration_is_told(binary: Path) -> None:
    """Without a configuration the container ends at once and says what it misses"""
    empty = TARGET / "empty"
    empty.mkdir(exist_ok=True)
    with container(image(), built(binary), empty) as running:
        equal(running.exit_code(), 1, "the exit code")
        said = running.log.read_text()
        if "/etc/sluicegate/sluicegate.yaml" not in said:
            raise Failed(f"it doesn't say which file it misses: {said}")
