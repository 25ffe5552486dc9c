"""The files of deploy/, each read by a program that other people wrote for it."""

import re
from pathlib import Path
from typing import Any

import yaml
from compose_spec import PyCompose

from claims import Failed, check, equal
from sandbox import ROOT, in_disposable_root, run

HERE = Path(__file__).resolve().parent
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
VENV = ROOT / "target" / "deploy" / "venv" / "bin"
VERSIONS = ["1.30", "1.33", "1.37"]
"""Of Kubernetes. The `sleep` of the preStop hook needs 1.30."""


def test_the_dockerfile_is_clean(_binary: Path) -> None:
    """hadolint has nothing to say about the Dockerfile"""
    run(VENV / "hadolint", "Dockerfile")


def test_yaml_is_clean(_binary: Path) -> None:
    """yamllint has nothing to say about deploy/"""
    run(VENV / "yamllint", "--strict", "--config-file", HERE / "yamllint.yaml", "deploy")


def test_configurations_have_no_findings(binary: Path) -> None:
    """The gateway has nothing to say about the configurations in deploy/"""
    configurations = sorted(DEPLOY.rglob("sluicegate.yaml"))
    check(len(configurations) >= 2, "there are some")
    for configuration in configurations:
        check("nothing found" in run(binary, "check", configuration), f"{configuration} has no findings")


def test_manifests_fit_kubernetes(_binary: Path) -> None:
    """kubernetes-validate accepts what kustomize makes of the manifests, and kustomize takes all of them"""
    rendered = run("kubectl", "kustomize", KUBERNETES)
    file = ROOT / "target" / "deploy" / "rendered.yaml"
    file.write_text(rendered)
    for version in VERSIONS:
        run(VENV / "kubernetes-validate", "--strict", "--kubernetes-version", version, file)
    made = {(part["kind"], part["metadata"]["name"]) for part in yaml.safe_load_all(rendered)}
    written = [document(path) for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml"]
    expected = {(part["kind"], part["metadata"]["name"]) for part in written} | {("ConfigMap", "sluicegate-config")}
    equal(made, expected, "what is applied")


def test_a_wrong_manifest_is_noticed(_binary: Path) -> None:
    """The check of manifests would notice a key that Kubernetes doesn't know"""
    wrong = ROOT / "target" / "deploy" / "wrong.yaml"
    wrong.write_text((KUBERNETES / "deployment.yaml").read_text().replace("readinessProbe:", "readynessProbe:"))
    try:
        run(VENV / "kubernetes-validate", "--strict", wrong)
    except Failed:
        return
    raise Failed("a misspelt readinessProbe goes unnoticed")


def test_manifests_agree_with_one_another(_binary: Path) -> None:
    """Selectors, ports, mounts and times of the manifests fit together"""
    deployment = document(KUBERNETES / "deployment.yaml")
    template = deployment["spec"]["template"]
    pod = template["spec"]
    container = pod["containers"][0]
    labels = template["metadata"]["labels"].items()
    for name, key in {"deployment": "selector", "pdb": "selector", "networkpolicy": "podSelector"}.items():
        selector = document(KUBERNETES / f"{name}.yaml")["spec"][key]["matchLabels"]
        check(selector.items() <= labels, f"{name}.yaml selects the pods")
    selector = document(KUBERNETES / "service.yaml")["spec"]["selector"]
    check(selector.items() <= labels, "service.yaml selects the pods")
    ports = {port["name"] for port in container["ports"]}
    service = document(KUBERNETES / "service.yaml")["spec"]["ports"]
    policy = document(KUBERNETES / "networkpolicy.yaml")["spec"]["ingress"]
    used = [port["targetPort"] for port in service] + [port["port"] for rule in policy for port in rule["ports"]]
    check(set(used) <= ports, f"{used} are ports of the container")
    target = document(KUBERNETES / "hpa.yaml")["spec"]["scaleTargetRef"]
    equal((target["kind"], target["name"]), ("Deployment", deployment["metadata"]["name"]), "what is scaled")
    mount = container["volumeMounts"][0]
    check("subPath" not in mount, "the ConfigMap is mounted as a folder, so that its changes arrive")
    hook = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = pod["terminationGracePeriodSeconds"]
    needed = hook + longest_shutdown(KUBERNETES / "config" / "sluicegate.yaml")
    check(needed < grace <= needed + 60, f"terminationGracePeriodSeconds {grace} is a little more than {needed}")


def test_the_pod_is_restricted(_binary: Path) -> None:
    """The Deployment meets Kubernetes' Pod Security Standard `restricted`, on a read-only root"""
    pod = document(KUBERNETES / "deployment.yaml")["spec"]["template"]["spec"]
    container = pod["containers"][0]["securityContext"]
    equal(pod["securityContext"]["runAsNonRoot"], True, "runAsNonRoot")
    equal(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}, "seccompProfile")
    equal(container["capabilities"], {"drop": ["ALL"]}, "capabilities")
    equal(container["allowPrivilegeEscalation"], False, "allowPrivilegeEscalation")
    equal(container["readOnlyRootFilesystem"], True, "readOnlyRootFilesystem")
    user = str(pod["securityContext"]["runAsUser"])
    check(f"USER {user}:" in (ROOT / "Dockerfile").read_text(), "the user is the image's")


def test_the_compose_file_fits_its_specification(_binary: Path) -> None:
    """compose.yaml fits the Compose specification, its files are there, and its times are long enough"""
    path = DEPLOY / "compose" / "compose.yaml"
    compose = PyCompose.from_yaml(path.read_text())
    compose.validate()
    services = document(path)["services"]
    gateway, app = services["gateway"], services["app"]
    for place in (gateway["build"], app["build"]["context"], gateway["volumes"][0].split(":")[0]):
        check((path.parent / place).resolve().is_dir(), f"{place} is there")
    minutes = int(re.fullmatch(r"(\d+)m", gateway["stop_grace_period"])[1])  # type: ignore[index]
    needed = longest_shutdown(path.parent / "config" / "sluicegate.yaml")
    check(minutes * 60 > needed, f"stop_grace_period is more than {needed} s")
    copied = re.findall(r"COPY (\S+)", app["build"]["dockerfile_inline"])
    for name in copied:
        check((path.parent / app["build"]["context"] / name).exists(), f"{name} is there")


def test_systemd_takes_the_units(binary: Path) -> None:
    """systemd-analyze verifies the units without a word and finds the service confined; its times are long enough"""
    units = "sluicegate.service sluicegate.socket"
    said = in_disposable_root(f"""
install -D {binary} $root/usr/local/bin/sluicegate
for unit in {units}; do install -m 644 {DEPLOY}/systemd/$unit $root/etc/systemd/system/$unit; done
chroot $root systemd-analyze verify {units}
chroot $root systemd-analyze security --offline=yes --threshold=30 --no-pager sluicegate.service > /dev/null
""")
    equal(said, "", "what systemd-analyze says")
    unit = (DEPLOY / "systemd" / "sluicegate.service").read_text()
    limit = int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[1])  # type: ignore[index]
    check(limit > 935, "TimeoutStopSec is more than the gateway's own limits")


def test_the_kernel_knows_the_settings(_binary: Path) -> None:
    """Every key of the sysctl file is one of the kernel's"""
    lines = (DEPLOY / "systemd" / "90-sluicegate.conf").read_text().splitlines()
    keys = [line.partition(" = ")[0] for line in lines if line and not line.startswith("#")]
    check(keys, "there are some")
    for key in keys:
        check(Path("/proc/sys", *key.split(".")).exists(), f"there is a {key}")


def test_the_kernel_keeps_the_ports_of_the_samples(_binary: Path) -> None:
    """The sysctl file keeps outgoing connections from the ports that the samples and the socket unit listen on"""
    lines = (DEPLOY / "systemd" / "90-sluicegate.conf").read_text().splitlines()
    settings = dict(line.split(" = ") for line in lines if " = " in line and not line.startswith("#"))
    reserved = set(settings["net.ipv4.ip_local_reserved_ports"].split(","))
    samples = (ROOT / "config" / "sluicegate.yaml", DEPLOY / "systemd" / "sluicegate.socket")
    text = "\n".join(sample.read_text() for sample in samples)
    used = set(re.findall(r"(?:address: |ListenStream=)\S+:(\d+)", text))
    check({"8080", "9901"} <= used <= reserved, f"{used} are among {reserved}")


def document(path: Path) -> dict[str, Any]:
    """The YAML document in a file."""
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def longest_shutdown(configuration: Path) -> float:
    """Seconds that the gateway takes to stop at most, by its configuration or its defaults."""
    shutdown: dict[str, int] = document(configuration).get("shutdown", {})
    return (shutdown.get("preStopDelayInMillis", 5_000) + shutdown.get("drainTimeoutInMillis", 930_000)) / 1000
