"""Load tools: nothing fails, and the access log has a line for every request."""

import re

import httpx

from claims import GUARD, check, equal, stalled
from harness import Gateway, Scene

SECONDS = 3
CONNECTIONS = 16
STREAMS = 8
"""Requests at a time on each HTTP/2 connection."""


def gateway_and_url(scene: Scene) -> tuple[Gateway, str]:
    """Starts nginx with a small answer behind the gateway."""
    gateway = scene.gateway(scene.nginx("keepalive_requests 1000000; location / { return 200 'Hello World!'; }"))
    url = f"{gateway.url}/stream/hello"
    equal(httpx.get(url, timeout=GUARD).text, "Hello World!", "body")
    return gateway, url


def check_log(gateway: Gateway, done: int, in_flight: int) -> None:
    """The log has a line for each request that is done, and for those that the tool dropped at its end."""
    lines = stalled(gateway.record_count) - 1  # the one of `gateway_and_url`
    check(done > 0, "no request was done")
    check(done <= lines <= done + in_flight, f"{lines} lines in the access log for {done} requests")


def test_wrk(scene: Scene) -> None:
    """wrk over HTTP/1.1: no errors, only 200, and as many lines in the access log as requests."""
    gateway, url = gateway_and_url(scene)
    wrk = scene.run("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", url)
    said = wrk.stdout.decode()
    equal(wrk.returncode, 0, "wrk's exit code")
    check("Socket errors" not in said and "Non-2xx" not in said, said)
    done = re.search(r"(\d+) requests in", said)
    check_log(gateway, int(done[1]) if done else 0, CONNECTIONS)


def test_h2load_over_h1(scene: Scene) -> None:
    """h2load over HTTP/1.1 for a while: no errors, only 200, and as many lines in the access log as requests."""
    gateway, url = gateway_and_url(scene)
    done = h2load(scene, "--h1", f"-c{CONNECTIONS}", f"-D{SECONDS}", url)
    check_log(gateway, done, CONNECTIONS)


def test_h2load_over_h2c(scene: Scene) -> None:
    """h2load over HTTP/2 for a while: no errors, only 200, and as many lines in the access log as requests."""
    gateway, url = gateway_and_url(scene)
    done = h2load(scene, f"-c{CONNECTIONS}", f"-m{STREAMS}", f"-D{SECONDS}", url)
    check_log(gateway, done, CONNECTIONS * STREAMS)


def test_h2load_exactly(scene: Scene) -> None:
    """A fixed number of requests is exactly that number of lines in the access log, over HTTP/1.1 and HTTP/2."""
    gateway, url = gateway_and_url(scene)
    for options in (["--h1"], [f"-m{STREAMS}"]):
        before = stalled(gateway.record_count)
        equal(h2load(scene, *options, f"-c{CONNECTIONS}", "-n10000", url), 10000, "requests done")
        equal(stalled(gateway.record_count) - before, 10000, "lines in the access log")


def h2load(scene: Scene, *arguments: str) -> int:
    """Runs h2load and returns how many requests are done, none of which may have failed."""
    said = scene.run("h2load", *arguments).stdout.decode()
    counts = {what: int(number) for number, what in re.findall(r"(\d+) (done|succeeded|failed|errored|timeout)", said)}
    check(counts, f"h2load says nothing of its requests: {said}")
    done = counts.pop("done")
    equal(counts, {"succeeded": done, "failed": 0, "errored": 0, "timeout": 0}, "requests")
    codes = re.search(r"status codes: (\d+) 2xx, (.*)", said)
    equal(codes and codes[2], "0 3xx, 0 4xx, 0 5xx", f"status codes ({said})")
    return done
