"""Uploads of unknown length from Python's own clients."""

import http.client
import json
import urllib.request

from apps import payload
from claims import GUARD, equal
from harness import Scene

SIZE = 7 * 1024 * 1024 + 4321
MODES = ("stream", "buffered")


def arrived_whole(answer: bytes, what: str) -> None:
    """The backend has hashed what was sent."""
    expected = {"sha256": payload.sha256_of(payload.blocks(SIZE)), "bytes": SIZE}
    equal(json.loads(answer), expected, what)


def test_http_client(scene: Scene) -> None:
    """http.client with a generator for a body: what arrives is what was sent, chunk by chunk."""
    gateway = scene.gateway(scene.uvicorn().url)
    for mode in MODES:
        client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=GUARD)
        client.request("POST", f"/{mode}/hash", body=payload.blocks(SIZE), encode_chunked=True)
        arrived_whole(client.getresponse().read(), mode)
        client.close()


def test_urllib(scene: Scene) -> None:
    """urllib with a generator for a body: what arrives is what was sent."""
    gateway = scene.gateway(scene.uvicorn().url)
    for mode in MODES:
        with urllib.request.urlopen(f"{gateway.url}/{mode}/hash", data=payload.blocks(SIZE), timeout=GUARD) as answer:
            arrived_whole(answer.read(), mode)


def test_curl(scene: Scene) -> None:
    """curl from a file, with a length, chunked after `100 Continue`, and over HTTP/2."""
    gateway = scene.gateway(scene.uvicorn().url)
    (scene.directory / "upload").write_bytes(b"".join(payload.blocks(SIZE)))
    ways = {
        "with a length": ["--http1.1"],
        "chunked": ["--http1.1", "--header", "Transfer-Encoding: chunked", "--header", "Expect: 100-continue"],
        "HTTP/2": ["--http2-prior-knowledge"],
    }
    for way, options in ways.items():
        curl = scene.fetch("--request", "POST", "--upload-file", "upload", *options, f"{gateway.url}/stream/hash")
        equal(curl.returncode, 0, f"{way}: curl's exit code ({curl.stderr.decode().strip()})")
        arrived_whole(curl.stdout, way)
