"""The handlers in AWS's documentation of response streaming, as they stand there."""

import json
import re

from claims import check, equal
from harness import INTEGRATION, ROOT, RUNTIMES, Environment, Scene


def start(scene: Scene, handler: str) -> Environment:
    """Starts one of the examples."""
    return scene.start(handler, RUNTIMES / "functions" / "examples")


def test_echo_by_pipeline(scene: Scene) -> None:
    """The event comes back through a pipeline."""
    environment = start(scene, "echo.echo")
    event = {"rawPath": "/", "text": "x" * 200_000}
    for _ in range(2):
        post = environment.stream(environment.invoke(event))
        equal(json.loads(post.body()), event, "body")
        post.answer()
    environment.next()


def test_writes_and_an_end(scene: Scene) -> None:
    """Four writes are four chunks."""
    environment = start(scene, "writes.handler")
    post = environment.stream(environment.invoke({}))
    equal([post.chunk() for _ in range(4)], [b"Hello ", b"world ", b"from ", b"Lambda!"], "chunks")
    equal(post.end(), {}, "trailers")
    post.answer()
    environment.next()


def test_metadata_and_chunks(scene: Scene) -> None:
    """Metadata, the delimiter, and three chunks a second apart."""
    environment = start(scene, "chunks.handler")
    post = environment.stream(environment.invoke({}), INTEGRATION)
    headers = {"Content-Type": "text/plain", "X-Custom-Header": "some-value"}
    equal(json.loads(post.chunk()), {"statusCode": 200, "headers": headers}, "metadata")
    equal(post.read(8), bytes(8), "delimiter")
    equal([post.chunk() for _ in range(3)], [b"hello", b" world", b"!!!"], "chunks")
    equal(post.end(), {}, "trailers")
    post.answer()
    environment.next()


def test_sketch_of_a_pipeline(scene: Scene) -> None:
    """The sketch that pipes an undefined `requestStream` fails as such, and again."""
    environment = start(scene, "pipeline.handler")
    for _ in range(2):
        message = environment.failure("ReferenceError", {})["errorMessage"]
        equal(message, "requestStream is not defined", "message")


def test_documentation(scene: Scene) -> None:
    """The handlers in docs/functions.md run as they stand there."""
    page = (ROOT / "docs" / "functions.md").read_text()
    events = b"".join(b"data: %d\n\n" % number for number in range(1, 6))
    hello = b"Hello\nfrom\na\nfunction\n"
    for language, ending, fence in (("node", "mjs", "js"), ("python", "py", "python")):
        scene.language = language
        blocks = [block for block in re.findall(rf"```{fence}\n(.*?)```", page, re.DOTALL) if "handler" in block]
        check(len(blocks) > 1, "the page has examples")
        for number, block in enumerate(blocks):
            code = scene.code(**{f"{language}{number}__index_dot_{ending}": block}) / f"{language}{number}"
            environment = scene.start("index.handler", code)
            if "ms left" in block:
                check(environment.result({})["body"].endswith(" ms left"), "body")
                continue
            post = environment.stream(environment.invoke({}), INTEGRATION)
            prelude, _, payload = post.body().partition(bytes(8))
            equal(json.loads(prelude)["statusCode"], 200, "status")
            equal(payload, hello if "Hello" in block else events, "payload")
            post.answer()
            environment.next()
