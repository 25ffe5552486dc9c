"""curl: large downloads, truncation, and upgrades it doesn't get."""

import hashlib
import json
import time

from apps import payload
from claims import check, equal
from harness import Scene

MIB = 1024 * 1024
SIZE = 30 * MIB
BANDWIDTH = {"burstBytes": 10 * MIB, "rateBytesPerSecond": 10 * MIB}
HOP_BY_HOP = ("connection", "upgrade", "http2-settings")
VERSIONS = {"HTTP/1.1": "--http1.1", "HTTP/2": "--http2-prior-knowledge"}


def test_paced_download_is_intact(scene: Scene) -> None:
    """A download whose larger part is paced arrives intact, and takes no less time than its rate allows."""
    gateway = scene.gateway(scene.uvicorn().url, defaults={"stream": BANDWIDTH})
    expected = payload.sha256_of(payload.blocks(SIZE))
    for version, option in VERSIONS.items():
        began = time.monotonic()
        url = f"{gateway.url}/stream/download?size={SIZE}"
        curl = scene.fetch("--no-buffer", option, "--output", "download", url)
        lasted = time.monotonic() - began
        equal(curl.returncode, 0, f"{version}: curl's exit code")
        received = (scene.directory / "download").read_bytes()
        equal(len(received), SIZE, f"{version}: bytes")
        equal(hashlib.sha256(received).hexdigest(), expected, f"{version}: sha256")
        # The rate holds within 2 %: 20 MiB at 10 MiB/s.
        check(lasted > 1.9, f"{version}: faster than its rate: {lasted:.2f} s")


def test_truncation_is_an_error(scene: Scene) -> None:
    """A stream that the backend breaks off is exit 18 over HTTP/1.1 and 92 over HTTP/2."""
    gateway = scene.gateway(scene.uvicorn().url)
    for query in ("", "?announced=1000000"):
        for version, code in (("HTTP/1.1", 18), ("HTTP/2", 92)):
            url = f"{gateway.url}/stream/truncated{query}"
            curl = scene.fetch(VERSIONS[version], url)
            equal(curl.returncode, code, f"{version} {query}: curl's exit code ({curl.stderr.decode().strip()})")
            # curl 7.88 drops a DATA frame that it reads together with RST_STREAM; `test_nghttp.py` counts those bytes.
            if version == "HTTP/1.1":
                equal(len(curl.stdout), payload.BLOCK, f"{version} {query}: bytes")
    outcomes = [record["outcome"] for record in gateway.records(4)]
    equal(outcomes, ["integration_truncated"] * 4, "outcomes in the access log")


def test_truncation_of_a_buffered_answer_is_502(scene: Scene) -> None:
    """A buffered answer that the backend breaks off is a 502 of the gateway, not a part of a body."""
    gateway = scene.gateway(scene.uvicorn().url)
    for option in VERSIONS.values():
        curl = scene.fetch("--write-out", "\n%{http_code}", option, f"{gateway.url}/buffered/truncated")
        body, _, status = curl.stdout.decode().rpartition("\n")
        equal((curl.returncode, status), (0, "502"), f"{option}: exit code and status")
        equal(json.loads(body), {"message": "Internal server error"}, f"{option}: body")


def test_upgrade_is_served_as_a_normal_request(scene: Scene) -> None:
    """Attempts to upgrade, to WebSocket and to h2c, are answered as normal requests; the backend never sees them."""
    gateway = scene.gateway(scene.uvicorn().url)
    key = ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
    headers = ("Connection: Upgrade", "Upgrade: websocket", *key)
    attempts = {
        "WebSocket": ["--http1.1", *(part for header in headers for part in ("--header", header))],
        "h2c": ["--http2"],
    }
    for what, options in attempts.items():
        url = f"{gateway.url}/stream/headers"
        curl = scene.fetch("--write-out", "\n%{http_code} %{http_version}", *options, url)
        body, _, status = curl.stdout.decode().rpartition("\n")
        equal((curl.returncode, status), (0, "200 1.1"), f"{what}: exit code, and status with version")
        arrived = json.loads(body)
        equal([name for name in HOP_BY_HOP if name in arrived], [], f"{what}: fields that reached the backend")
