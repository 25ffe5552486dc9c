"""Lambda's own runtimes for Node, Python and Rust, and the Lambda Web Adapter, as their makers publish them."""

import json
import signal
from typing import Any

from claims import check, equal, eventually
from harness import PEERS, VENV, Backend, Scene, free_port, http_stream, lock_step, stream_name
from stage import (
    CHUNKS,
    DELIMITER,
    TARGET,
    Events,
    Steps,
    end,
    get,
    in_lock_step,
    integration,
    local,
    node,
    outcomes,
    processes,
    python,
    rest,
    sdk,
    serve,
    url,
    whole,
)

HEAD = {"content-type": "text/plain", "x-own": "yes"}


def ric(scene: Scene, handler: str) -> dict[str, Any]:
    """A function in Node on npm's aws-lambda-ric."""
    program = str(TARGET / "npm" / "node_modules" / ".bin" / "aws-lambda-ric")
    return node(scene, handler, command=[program, f"index.{handler}"])


def python_ric(scene: Scene, handler: str) -> dict[str, Any]:
    """A function in Python on PyPI's awslambdaric."""
    return python(scene, handler, command=[str(VENV / "bin" / "python"), "-m", "awslambdaric", f"app.{handler}"])


def rust(scene: Scene, name: str, **settings: Any) -> dict[str, Any]:
    """A program on the crates lambda_runtime and lambda_http."""
    return local(scene, "provided.al2023", "", command=[str(TARGET / "rust" / "debug" / name)], **settings)


def test_node_streams_by_every_way(scene: Scene) -> None:
    """aws-lambda-ric: a REST API, a function URL and an SDK each get a chunk before the function makes the next."""
    gateway = serve(scene, {"ric": ric(scene, "streamed")})
    for address in (rest, url):
        steps = Steps(scene)
        with in_lock_step(address(gateway, "ric", steps), steps, HEAD) as response:
            equal(response.headers.get_list("set-cookie"), ["a=1", "b=2"], "cookies")
    steps = Steps(scene)
    payload = json.dumps({"steps": str(steps)})
    events = Events(sdk(gateway).invoke_with_response_stream(FunctionName="ric", Payload=payload))
    equal(json.loads(events.until(DELIMITER))["statusCode"], 201, "status in the metadata")
    steps.follow(events.read)
    equal((events.read(1), events.complete), (b"", {}), "the end")
    by_url = get(url(gateway, "ric-whole", Steps(scene).all_seen()))
    equal((by_url.status_code, by_url.content), (201, whole()), "by a buffered URL")
    equal(outcomes(gateway, 4)[:2], ["complete"] * 2, "outcomes")
    end(scene, gateway)


def test_node_buffered_by_every_way(scene: Scene) -> None:
    """aws-lambda-ric: a whole result by REST, function URL and SDK; failures as such."""
    gateway = serve(scene, {"ric": ric(scene, "buffered"), "fails": ric(scene, "fails")})
    equal(get(rest(gateway, "ric", mode="buffered")).json()["event"]["path"], "/buffered/ric", "path by REST")
    equal(get(url(gateway, "ric-whole", "x")).json()["event"]["rawQueryString"], "steps=x", "query by URL")
    result = json.load(sdk(gateway).invoke(FunctionName="ric", Payload=b'{"a": 1}')["Payload"])
    equal(json.loads(result["body"])["event"], {"a": 1}, "event by SDK")
    equal(get(rest(gateway, "fails", mode="buffered")).status_code, 502, "a failure by REST")
    answer = sdk(gateway).invoke(FunctionName="fails")
    equal(answer["FunctionError"], "Unhandled", "FunctionError")
    equal(json.load(answer["Payload"])["errorType"], "RangeError", "errorType")


def test_node_stream_that_breaks(scene: Scene) -> None:
    """aws-lambda-ric: an exception in mid-stream reaches curl as 18, and InvokeComplete with its type."""
    gateway = serve(scene, {"ric": ric(scene, "breaks")})
    fetched = scene.fetch(rest(gateway, "ric"))
    equal((fetched.returncode, fetched.stdout), (18, b"the beginning\n"), "curl")
    equal(outcomes(gateway, 1), ["integration_truncated"], "outcome")
    events = Events(sdk(gateway).invoke_with_response_stream(FunctionName="ric"))
    equal(events.rest().partition(DELIMITER)[2], b"the beginning\n", "payload by SDK")
    equal((events.complete or {}).get("ErrorCode"), "Error", "ErrorCode")


def test_node_client_that_leaves(scene: Scene) -> None:
    """aws-lambda-ric: when the client leaves, its environment is replaced or goes on; the next call is served."""
    gateway = serve(scene, {"ric": ric(scene, "endless")})
    for number in range(3):
        with http_stream(rest(gateway, "ric", Steps(scene))) as (_, read):
            equal(read(14), b"the beginning\n", "first chunk")
        equal(outcomes(gateway, number + 1)[number], "client_left", "outcome")
    eventually("at most one environment is left", lambda: len(processes(scene)) <= 1, guard=15)
    end(scene, gateway)


def test_python_buffered_by_every_way(scene: Scene) -> None:
    """awslambdaric: a whole result by REST, function URL and SDK; failures as such."""
    gateway = serve(scene, {"ric": python_ric(scene, "buffered"), "fails": python_ric(scene, "fails")})
    equal(get(rest(gateway, "ric", mode="buffered")).json()["event"]["path"], "/buffered/ric", "path by REST")
    equal(get(url(gateway, "ric-whole", "x")).json()["event"]["rawQueryString"], "steps=x", "query by URL")
    result = json.load(sdk(gateway).invoke(FunctionName="ric", Payload=b'{"a": 1}')["Payload"])
    equal(json.loads(result["body"])["event"], {"a": 1}, "event by SDK")
    answer = sdk(gateway).invoke(FunctionName="fails")
    equal(json.load(answer["Payload"])["errorType"], "ValueError", "errorType")
    end(scene, gateway)


def test_rust_streams_by_every_way(scene: Scene) -> None:
    """lambda_http: lock-step by REST, function URL and SDK; repeated Set-Cookie fields all arrive."""
    gateway = serve(scene, {"http": rust(scene, "http"), "event": node(scene, "buffered")})
    for address in (rest, url):
        steps = Steps(scene)
        with in_lock_step(address(gateway, "http", steps), steps, {"content-type": "text/plain"}) as response:
            equal(response.headers.get_list("set-cookie"), ["a=1", "b=2"], "cookies")
    # lambda_http wants a whole event; one that the gateway has made.
    steps = Steps(scene)
    event = get(rest(gateway, "event", steps, mode="buffered")).json()["event"]
    answer = sdk(gateway).invoke_with_response_stream(FunctionName="http", Payload=json.dumps(event))
    events = Events(answer)
    metadata = json.loads(events.until(DELIMITER))
    equal((metadata["statusCode"], metadata["cookies"]), (201, ["a=1", "b=2"]), "metadata")
    steps.follow(events.read)
    equal((events.read(1), events.complete), (b"", {}), "the end")
    by_url = get(url(gateway, "http-whole", Steps(scene).all_seen()))
    equal((by_url.status_code, by_url.content), (201, whole()), "by a buffered URL")
    end(scene, gateway)


def test_rust_results_and_errors(scene: Scene) -> None:
    """lambda_runtime: a result has the request's id and the function's ARN; an error is a function error."""
    gateway = serve(scene, {"raw": rust(scene, "raw")})
    answer = sdk(gateway).invoke(FunctionName="raw", Payload=b'{"a": [1, null, "\xc3\xa4"]}')
    result = json.load(answer["Payload"])
    equal(result["event"], {"a": [1, None, "ä"]}, "event")
    equal(result["requestId"], answer["ResponseMetadata"]["RequestId"], "request id")
    equal(result["arn"], "arn:aws:lambda:us-east-1:123456789012:function:raw", "ARN")
    answer = sdk(gateway).invoke(FunctionName="raw", Payload=b'{"fail": "as asked"}')
    equal(answer["FunctionError"], "Unhandled", "FunctionError")
    equal(json.load(answer["Payload"])["errorMessage"], "as asked", "errorMessage")


def web(scene: Scene, port: int, mode: str) -> dict[str, Any]:
    """`apps/stream_app.py` in uvicorn, behind the Lambda Web Adapter."""
    command = [str(VENV / "bin" / "python"), "-m", "uvicorn", "--app-dir", str(PEERS / "apps"), "--port"]
    function = local(
        scene,
        "provided.al2023",
        "",
        command=[*command, str(port), "stream_app:app"],
        extensions=[str(TARGET / "adapter" / "bin" / "lambda-adapter")],
        concurrency=1,
    )
    function["environment"] |= {
        "PORT": str(port),
        "AWS_LWA_INVOKE_MODE": mode,
        "AWS_LWA_READINESS_CHECK_PATH": "/ready",
    }
    return function


def test_web_adapter_in_lock_step(scene: Scene) -> None:
    """lambda_web_adapter as an extension before uvicorn: each chunk arrives before the application makes the next."""
    port = free_port()
    function = {**web(scene, port, "response_stream"), "functionUrlConfig": {"invokeMode": "RESPONSE_STREAM"}}
    gateway = scene.serve({"/lockstep/{name}": integration("web", "STREAM")}, functions={"web": function})
    # The side channel goes past the gateway, to the application in its environment.
    backend = Backend(gateway.process, f"http://127.0.0.1:{port}")
    for base in ("", "/lambda-url/web"):
        name = stream_name()
        with http_stream(f"{gateway.url}{base}/lockstep/{name}?chunks={CHUNKS}") as (response, read):
            equal(response.status_code, 200, "status")
            check(response.headers["content-type"].startswith("text/plain"), "Content-Type")
            lock_step(read, backend, name, CHUNKS)
            equal(read(1), b"", "after the last chunk")
    check(len(processes(scene)) == 2, "the application and the adapter run")
    gateway.process.signal(signal.SIGINT)
    equal(gateway.process.exit_code(15), 0, "the gateway's exit code")
    eventually("no process of the function is left", lambda: not processes(scene))


def test_web_adapter_buffered(scene: Scene) -> None:
    """lambda_web_adapter, buffered: the application's answers and statuses, by REST and by a function URL."""
    functions = {"web": {**web(scene, free_port(), "buffered"), "functionUrlConfig": {"invokeMode": "BUFFERED"}}}
    gateway = scene.serve({"/{name}": integration("web", "BUFFERED")}, functions=functions)
    for base in ("", "/lambda-url/web"):
        words = get(f"{gateway.url}{base}/words")
        equal((words.status_code, words.text), (200, "Hello World !"), f"{base}/words")
        equal(get(f"{gateway.url}{base}/nowhere").status_code, 404, f"{base}/nowhere")
