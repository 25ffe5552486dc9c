"""Prometheus scrapes a gateway, and what `deploy` has for operators works on what it finds."""

import json
import math
import re
from typing import Any

import httpx

from claims import GUARD, check, equal, eventually
from harness import ROOT, Gateway, Scene, free_port

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "sluicegate.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "sluicegate.json"
ALERTS = ROOT / "tests" / "peers" / "alerts.yaml"


def gateway_with_admin(scene: Scene) -> tuple[Gateway, str]:
    """Starts a gateway that nginx stands behind, with a VPC link and a function that nothing uses. Its admin address comes second."""
    (scene.directory / "large").write_bytes(b"x" * 4_000_000)
    backend = scene.nginx(
        f"location / {{ return 200 'Hello World!'; }} location /broken {{ return 444; }} "
        f"location /large {{ root {scene.directory}; }}"
    )
    admin = f"127.0.0.1:{free_port()}"
    gateway = scene.gateway(
        backend,
        admin={"address": admin},
        vpcLinks={"link": {"targets": [backend]}},
        functions={"idle": {"runtime": "provided.al2023", "codeUri": ".", "command": ["/bin/true"]}},
    )
    return gateway, admin


def traffic(gateway: Gateway) -> None:
    """Something of everything: streams, buffered answers, a backend that breaks off, a path that doesn't exist."""
    for path in ("stream/a", "stream/large", "buffered/a", "buffered/broken", "nowhere"):
        httpx.get(f"{gateway.url}/{path}", timeout=GUARD)


def prometheus(scene: Scene, admin: str) -> str:
    """Starts Prometheus with the rules of `deploy`, and returns its URL."""
    port = free_port()
    config = scene.directory / "prometheus.json"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES)],
                "scrape_configs": [{"job_name": "sluicegate", "static_configs": [{"targets": [admin]}]}],
            }
        )
    )
    process = scene.start(
        "prometheus",
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={scene.directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    scene.await_port(process, port)
    return f"http://127.0.0.1:{port}"


def ask(url: str, call: str, **parameters: str) -> Any:
    """The data of an answer of Prometheus's API."""
    answer = httpx.get(f"{url}/api/v1/{call}", params=parameters, timeout=GUARD).json()
    check(answer["status"] == "success", f"{call} {parameters}: {answer.get('error')}")
    return answer["data"]


def value(url: str, expression: str) -> float:
    """The value of an expression that has one series at most; none is not a number."""
    result = ask(url, "query", query=expression)["result"]
    return float(result[0]["value"][1]) if result else math.nan


def dashboard_expressions() -> list[str]:
    """What the panels ask, for all APIs and over the last 30 seconds."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [text.replace("$__rate_interval", "30s").replace("$api", ".*") for text in expressions]


def test_the_page_passes_promtool(scene: Scene) -> None:
    """What /metrics answers is in Prometheus's format, and named as Prometheus wants it."""
    gateway, admin = gateway_with_admin(scene)
    traffic(gateway)
    page = scene.directory / "page.txt"
    page.write_bytes(httpx.get(f"http://{admin}/metrics", timeout=GUARD).content)
    lint = scene.run("sh", "-c", f"promtool check metrics < {page}")
    equal((lint.returncode, lint.stdout + lint.stderr), (0, b""), "promtool check metrics")


def test_the_rules_pass_promtool(scene: Scene) -> None:
    """The rules and the example configuration are in order."""
    for kind, file in (("rules", RULES), ("config", DEPLOY / "prometheus" / "prometheus.yml")):
        checked = scene.run("promtool", "check", kind, str(file))
        equal(checked.returncode, 0, f"promtool check {kind}: {checked.stdout!r} {checked.stderr!r}")


def test_alerts_fire_when_they_should(scene: Scene) -> None:
    """Every alert fires for what it is about, also if its counter begins with its first event; none does while all is well."""
    tested = scene.run("promtool", "test", "rules", str(ALERTS))
    equal(tested.returncode, 0, f"promtool test rules: {tested.stdout!r} {tested.stderr!r}")
    named = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    expected = set(re.findall(r'alertname="(\w+)"\}\', value: 1', ALERTS.read_text()))
    equal(named - expected, set(), "alerts that nothing is expected of")


def test_the_dashboard_finds_data(scene: Scene) -> None:
    """Prometheus scrapes the gateway; every expression of the dashboard finds data, and every rule can be evaluated."""
    gateway, admin = gateway_with_admin(scene)
    traffic(gateway)
    url = prometheus(scene, admin)
    eventually("the gateway is up", lambda: value(url, 'up{job="sluicegate"}') == 1, guard=15)
    requests = "sum(rate(sluicegate_requests_total[30s]))"

    def has_rates() -> bool:
        traffic(gateway)
        return value(url, requests) > 0

    eventually("requests have a rate", has_rates, guard=15)
    for expression in dashboard_expressions():
        check(ask(url, "query", query=expression)["result"], f"no data: {expression}")

    def rules() -> list[dict[str, str]]:
        return [rule for group in ask(url, "rules")["groups"] for rule in group["rules"]]

    eventually("all rules were evaluated", lambda: all(rule["health"] != "unknown" for rule in rules()), guard=15)
    bad = [rule["name"] for rule in rules() if rule["health"] != "ok"]
    equal((bad, len(rules()) > 0), ([], True), "rules that fail")


def test_rules_and_dashboard_ask_for_metrics_that_exist(scene: Scene) -> None:
    """No rule and no panel asks for a metric that the gateway doesn't have."""
    gateway, admin = gateway_with_admin(scene)
    traffic(gateway)
    page = httpx.get(f"http://{admin}/metrics", timeout=GUARD).text
    known = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    asked = set(re.findall(r"sluicegate_\w+", " ".join(dashboard_expressions()) + RULES.read_text()))
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    equal(asked - known, set(), "metrics that don't exist")


def test_the_count_is_that_of_the_access_log(scene: Scene) -> None:
    """Whatever happens, the access log has one line for each request that is counted."""
    gateway, admin = gateway_with_admin(scene)
    for _ in range(20):
        traffic(gateway)
    load = scene.run("h2load", "--h1", "-c8", "-n2000", f"{gateway.url}/stream/a")
    equal(load.returncode, 0, "h2load's exit code")

    def counted() -> int:
        page = httpx.get(f"http://{admin}/metrics", timeout=GUARD).text
        counts = re.findall(r"^sluicegate_requests_total\{.*\} (\d+)$", page, re.MULTILINE)
        return sum(map(int, counts))

    eventually("2100 requests are counted", lambda: counted() == 2100)
    eventually("as many lines", lambda: gateway.record_count() == 2100)
    equal(counted(), 2100, "requests counted")
