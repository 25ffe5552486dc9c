"""The gateway's own runtimes for Node and Python, by every way to call a function."""

import json

from claims import check, equal, eventually
from harness import Gateway, Scene, http_stream
from stage import (
    DELIMITER,
    EXAMPLES,
    Events,
    Steps,
    end,
    get,
    in_lock_step,
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


def both(scene: Scene, handler: str) -> Gateway:
    """A gateway with the same function in Node and in Python."""
    return serve(scene, {"node": node(scene, handler), "python": python(scene, handler)})


def test_rest_streams_are_in_lock_step(scene: Scene) -> None:
    """STREAM: each chunk reaches the client before the function makes the next."""
    gateway = both(scene, "streamed")
    for name in ("node", "python"):
        steps = Steps(scene)
        with in_lock_step(rest(gateway, name, steps), steps, HEAD):
            pass
    equal(outcomes(gateway, 2), ["complete"] * 2, "outcomes")
    end(scene, gateway)


def test_function_urls_are_in_lock_step(scene: Scene) -> None:
    """RESPONSE_STREAM: each chunk reaches the client before the function makes the next; cookies are set."""
    gateway = both(scene, "streamed")
    for name in ("node", "python"):
        steps = Steps(scene)
        with in_lock_step(url(gateway, name, steps), steps, HEAD) as response:
            cookies = ["a=1", "b=2"] if name == "node" else []
            equal(response.headers.get_list("set-cookie"), cookies, "cookies")


def test_sdk_streams_are_in_lock_step(scene: Scene) -> None:
    """InvokeWithResponseStream: metadata, delimiter and chunks as they were written, then InvokeComplete."""
    gateway = both(scene, "streamed")
    for name in ("node", "python"):
        steps = Steps(scene)
        payload = json.dumps({"steps": str(steps)})
        answer = sdk(gateway).invoke_with_response_stream(FunctionName=name, Payload=payload)
        events = Events(answer)
        equal(json.loads(events.until(DELIMITER))["statusCode"], 201, "status in the metadata")
        steps.follow(events.read)
        equal(events.read(1), b"", "after the last chunk")
        equal(events.complete, {}, "InvokeComplete")


def test_buffered_results_by_every_way(scene: Scene) -> None:
    """A result that isn't streamed is the same body by REST and by a function URL, and the same result by the SDK."""
    gateway = both(scene, "buffered")
    for name in ("node", "python"):
        by_rest = get(rest(gateway, name, mode="buffered"))
        equal((by_rest.status_code, by_rest.headers["content-type"]), (200, "application/json"), "head by REST")
        equal(by_rest.json()["event"]["path"], f"/buffered/{name}", "path by REST")
        by_url = get(url(gateway, f"{name}-whole", "x"))
        equal((by_url.status_code, by_url.headers["content-type"]), (200, "application/json"), "head by URL")
        equal(by_url.json()["event"]["rawQueryString"], "steps=x", "query by URL")
        by_sdk = json.load(sdk(gateway).invoke(FunctionName=name, Payload=b'{"a": 1}')["Payload"])
        equal(json.loads(by_sdk["body"])["event"], {"a": 1}, "event by SDK")
        # Where a stream is asked for, the result comes as it is.
        by_stream = get(url(gateway, name))
        equal((by_stream.status_code, by_stream.json()["statusCode"]), (200, 200), "by a streaming URL")


def test_streams_where_a_whole_result_is_asked_for(scene: Scene) -> None:
    """A buffered function URL and Invoke collect a stream; a BUFFERED integration gives its head alone, as on AWS."""
    gateway = both(scene, "streamed")
    for name in ("node", "python"):
        steps = Steps(scene).all_seen()
        by_url = get(url(gateway, f"{name}-whole", steps))
        equal((by_url.status_code, by_url.headers["x-own"], by_url.content), (201, "yes", whole()), "by URL")
        payload = json.dumps({"steps": str(steps)})
        result = sdk(gateway).invoke(FunctionName=name, Payload=payload)["Payload"].read()
        equal(result.partition(DELIMITER)[2], whole(), "by SDK")
        by_rest = get(rest(gateway, name, steps, mode="buffered"))
        equal((by_rest.status_code, by_rest.headers["x-own"], by_rest.content), (201, "yes", b""), "by REST")


def test_a_stream_that_breaks_never_looks_complete(scene: Scene) -> None:
    """An exception in mid-stream: curl fails with 18, the record says so, InvokeComplete has the error."""
    gateway = both(scene, "breaks")
    for name, kind, text in (("node", "Error", "broke in the middle"), ("python", "RuntimeError", "broke here")):
        for address in (rest(gateway, name), url(gateway, name)):
            fetched = scene.fetch(address)
            equal((fetched.returncode, fetched.stdout), (18, b"the beginning\n"), address)
        events = Events(sdk(gateway).invoke_with_response_stream(FunctionName=name))
        equal(events.rest().partition(DELIMITER)[2], b"the beginning\n", "payload by SDK")
        complete = events.complete or {}
        equal(complete.get("ErrorCode"), kind, "ErrorCode")
        check(text in complete.get("ErrorDetails", ""), f"ErrorDetails: {complete!r}")
    equal(outcomes(gateway, 4)[:2], ["integration_truncated"] * 2, "outcomes")


def test_functions_that_die_in_mid_stream(scene: Scene) -> None:
    """A killed process breaks its stream and no other call: the next one gets a new process."""
    gateway = both(scene, "dies")
    for name in ("node", "python"):
        for _ in range(2):
            fetched = scene.fetch(rest(gateway, name))
            equal((fetched.returncode, fetched.stdout), (18, b"the beginning\n"), name)
    equal(outcomes(gateway, 4), ["integration_truncated"] * 4, "outcomes")
    end(scene, gateway)


def test_errors_before_the_head(scene: Scene) -> None:
    """A function that fails at once: 502 where it is buffered, 500 where it streams, a function error for SDKs."""
    gateway = both(scene, "fails")
    for name, kind in (("node", "RangeError"), ("python", "ValueError")):
        equal(get(rest(gateway, name, mode="buffered")).status_code, 502, "BUFFERED")
        equal(get(rest(gateway, name)).status_code, 500, "STREAM")
        equal(get(url(gateway, name)).status_code, 502, "function URL, streaming")
        equal(get(url(gateway, f"{name}-whole")).status_code, 502, "function URL, buffered")
        answer = sdk(gateway).invoke(FunctionName=name)
        equal((answer["StatusCode"], answer["FunctionError"]), (200, "Unhandled"), "SDK")
        equal(json.load(answer["Payload"])["errorType"], kind, "errorType")


def test_a_client_that_leaves_closes_the_stream(scene: Scene) -> None:
    """Node's stream is closed when its client leaves; the next call is served, and in the end no process is left."""
    gateway = serve(scene, {"node": node(scene, "endless")})
    for number, address in enumerate((rest, url, rest)):
        steps = Steps(scene)
        with http_stream(address(gateway, "node", steps)) as (_, read):
            equal(read(14), b"the beginning\n", "first chunk")
        eventually("the function has seen its stream closed", (steps.path / "closed").exists)
        equal((steps.path / "closed").read_text(), "closed\n", "times that it was closed")
        equal(outcomes(gateway, number + 1)[number], "client_left", "outcome")
    check(len(processes(scene)) <= 1, "at most one environment is left")
    end(scene, gateway)


def test_functions_end_with_a_killed_gateway(scene: Scene) -> None:
    """When the gateway is killed without a word, its functions end, too: idle ones and streaming ones."""
    gateway = serve(scene, {"idle": python(scene, "buffered"), "busy": node(scene, "endless")})
    equal(get(rest(gateway, "idle", mode="buffered")).status_code, 200, "status")
    with http_stream(rest(gateway, "busy", Steps(scene))) as (_, read):
        equal(read(14), b"the beginning\n", "first chunk")
        equal(len(processes(scene)), 2, "processes")
        gateway.process.kill()
        eventually("no process of a function is left", lambda: not processes(scene))


def test_examples_of_the_documentation(scene: Scene) -> None:
    """The handlers in AWS's pages, as they stand there, through the gateway."""
    handlers = {
        "echo": "echo.echo",
        "writes": "writes.handler",
        "chunks": "chunks.handler",
        "sketch": "pipeline.handler",
    }
    functions = {name: local(scene, "nodejs20.x", handler, codeUri=str(EXAMPLES)) for name, handler in handlers.items()}
    gateway = serve(scene, functions)
    chunks = get(rest(gateway, "chunks"))
    equal(
        (chunks.status_code, chunks.headers["x-custom-header"], chunks.text),
        (200, "some-value", "hello world!!!"),
        "chunks",
    )
    equal(get(url(gateway, "writes")).text, "Hello world from Lambda!", "writes")
    equal(get(url(gateway, "echo", "here")).json()["queryStringParameters"], {"steps": "here"}, "echo")
    # Without metadata there is no head for a REST API's stream.
    equal(get(rest(gateway, "writes")).status_code, 500, "writes behind STREAM")
    equal(get(rest(gateway, "sketch")).status_code, 500, "the sketch that pipes an undefined stream")


def test_one_stream_holds_up_no_other(scene: Scene) -> None:
    """Streams of one function side by side, each in an environment of its own, are followed in reverse."""
    gateway = serve(scene, {"node": node(scene, "streamed")})
    started = [(steps := Steps(scene), scene.curl(rest(gateway, "node", steps))) for _ in range(4)]
    for steps, curl in reversed(started):
        steps.follow(curl.stdout.exactly)
        equal(curl.exit_code(), 0, "curl's exit code")


def test_invoke_on_the_command_line(scene: Scene) -> None:
    """`sluicegate invoke --stream` prints each chunk before the function makes the next, with no gateway running."""
    steps = Steps(scene)
    config = scene.directory / "invoke.yaml"
    config.write_text(json.dumps({"functions": {"node": node(scene, "streamed")}}))
    event = scene.directory / "event.json"
    event.write_text(json.dumps({"steps": str(steps)}))
    command = ["invoke", "node", "--event", str(event), "--stream", "--config", str(config)]
    printed = scene.start("invoke", str(scene.binary), *command)
    check(b'"statusCode":201' in printed.stdout.line(), "metadata")
    check(b"\\0" * 8 in printed.stdout.line(), "delimiter")
    for number in range(4):
        line = printed.stdout.line()
        check(line.endswith(b"s  chunk %04d\\n\n" % number), f"line of chunk {number}: {line!r}")
        steps.seen(number)
    equal(printed.exit_code(), 0, "exit code")
    equal(processes(scene), set(), "processes")


def test_invoke_calls_a_running_gateway(scene: Scene) -> None:
    """`sluicegate invoke --endpoint` calls a gateway; a function's error is told, and the exit code is 1."""
    gateway = serve(scene, {"node": node(scene, "buffered"), "fails": node(scene, "fails")})
    told = scene.run(str(scene.binary), "invoke", "node", "--endpoint", gateway.url)
    equal(told.returncode, 0, f"exit code: {told.stderr!r}")
    equal(json.loads(told.stdout)["statusCode"], 200, "status")
    told = scene.run(str(scene.binary), "invoke", "fails", "--endpoint", gateway.url)
    equal(told.returncode, 1, "exit code")
    equal(told.stderr, b"function error Unhandled\n", "stderr")
    equal(json.loads(told.stdout)["errorType"], "RangeError", "errorType")
