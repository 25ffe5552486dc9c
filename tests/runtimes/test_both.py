"""What Node's and Python's runtimes do alike."""

import json

from claims import GUARD, check, equal, eventually
from harness import ARN, INTEGRATION, Scene, broken

RANGE_ERROR = {"node": "RangeError", "python": "IndexError"}
ERROR = {"node": "Error", "python": "Exception"}


def test_result_is_json(scene: Scene) -> None:
    """What a handler returns is the result, byte for byte the same JSON; what returns nothing returns null."""
    environment = scene.start("common.echo")
    events: tuple[object, ...] = ({"a": [1, 2.5, None, True, "ünï\u2028"]}, "text", 0, None, [], {})
    for event in events:
        equal(environment.result(event), event, "result")
    equal(scene.start("common.nothing").result({}), None, "result")


def test_error_tells_type_message_and_place(scene: Scene) -> None:
    """An exception is an error with type, message and the function's lines, and the next invocation comes."""
    environment = scene.start("common.fails")
    for _ in range(2):
        error = environment.failure("TypeError", {})
        equal(error["errorMessage"], "no such thing: ünïcode", "message")
        trace = error["trace" if scene.language == "node" else "stackTrace"]
        check("common" in "".join(trace), f"the trace names the file: {trace}")
        check("bootstrap" not in trace[-1], f"the runtime's own lines are not the last: {trace}")
    environment.next()
    check("TypeError" in environment.said(), "the log tells of it")


def test_context_is_complete(scene: Scene) -> None:
    """The context has all that the headers and the environment say; the trace is in the process's environment."""
    environment = scene.start("common.context")
    headers = (
        "Lambda-Runtime-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1\r\n"
        'Lambda-Runtime-Client-Context: {"client":{"app_title":"app"},"custom":{},"env":{}}\r\n'
        'Lambda-Runtime-Cognito-Identity: {"cognitoIdentityId":"me","cognitoIdentityPoolId":"we"}\r\n'
    )
    for more, trace in ((headers, "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"), ("", None)):
        request_id = environment.invoke({}, more)
        post = environment.post(f"invocation/{request_id}/response")
        said = json.loads(post.body())
        post.answer()
        remaining = said.pop("remaining")
        check(0 < remaining <= 30_000, f"remaining time {remaining}")
        expected: dict[str, object] = {
            "id": request_id,
            "arn": ARN,
            "name": "echo",
            "version": "$LATEST",
            "memory": "128",
        }
        expected |= {"group": "/aws/lambda/echo", "stream": "the-stream"}
        expected |= {"client": trace and "app", "identity": trace and "me", "trace": trace}
        equal(said, expected, "context")


def test_chunks_leave_one_by_one(scene: Scene) -> None:
    """Each chunk arrives before the handler makes the next, and the head with the first."""
    environment = scene.start("common.lockstep")
    post = environment.stream(environment.invoke({}))
    for number in range(4):
        equal(post.chunk(), f"chunk {number};".encode(), "chunk")
        environment.seen(number)
    equal(post.end(), {}, "trailers")
    post.answer()
    environment.next()


def test_metadata_is_a_prelude(scene: Scene) -> None:
    """HTTP metadata goes ahead as JSON and eight NUL bytes, under its own content type."""
    environment = scene.start("common.metadata")
    post = environment.stream(environment.invoke({"first": "payload"}), INTEGRATION)
    prelude = post.chunk()
    equal(json.loads(prelude), {"statusCode": 201, "headers": {"X-A": "b"}, "cookies": ["c=d"]}, "metadata")
    equal(post.read(8), bytes(8), "delimiter")
    equal(post.chunk(), b"payload", "payload")
    environment.seen(0)
    equal(post.end(), {}, "trailers")
    post.answer()
    environment.next()


def test_error_in_a_stream_is_in_its_trailers(scene: Scene) -> None:
    """An exception after the first byte ends the body with trailers; a huge one doesn't burst them."""
    environment = scene.start("common.breaks")
    environment.seen(0)
    for event in ({}, {"huge": True}):
        post = environment.stream(environment.invoke(event))
        equal(post.chunk(), b"so far", "chunk")
        trailers = post.end()
        post.answer()
        message = broken(trailers, RANGE_ERROR[scene.language])["errorMessage"]
        equal(message[:3], "xxx" if event else "out", "message")
        check(sum(map(len, trailers.values())) < 20_000, "trailers are bounded")
    environment.next()


def test_error_before_the_stream_is_an_error(scene: Scene) -> None:
    """An exception before the first byte is told as an error, not as a stream."""
    environment = scene.start("common.breaksFirst")
    for _ in range(2):
        error = environment.failure(RANGE_ERROR[scene.language], {})
        equal(error["errorMessage"], "before anything", "message")
    environment.next()


def test_handler_learns_that_the_client_left(scene: Scene) -> None:
    """A connection that closes in mid-stream ends the stream for the handler, not the process."""
    environment = scene.start("common.endless")
    for _ in range(2):
        post = environment.stream(environment.invoke({}))
        equal(post.chunk(), b"first", "chunk")
        environment.seen("go")
        equal(post.chunk(), b"more", "chunk")
        post.connection.cut()
        environment.noted("left")
        (environment.directory / "gate" / "left").unlink()
    environment.next()


def test_client_that_leaves_in_silence(scene: Scene) -> None:
    """A connection that closes while the handler is busy is noticed with its next chunk at the latest."""
    environment = scene.start("common.endless")
    post = environment.stream(environment.invoke({}))
    equal(post.chunk(), b"first", "chunk")
    post.connection.cut()
    environment.seen("go")
    environment.noted("left")
    environment.next()


def test_answer_in_mid_stream_ends_it(scene: Scene) -> None:
    """A refusal before the end (410, 413) stops the stream and is logged; the next invocation comes."""
    environment = scene.start("common.endless")
    for status in (410, 413):
        post = environment.stream(environment.invoke({}))
        equal(post.chunk(), b"first", "chunk")
        post.answer(status, '{"errorType":"TheReason"}')
        environment.seen("go")
        post.connection.drain()
        environment.noted("left")
        (environment.directory / "gate" / "left").unlink()
        request = environment.next()
        check(f"{status}" in environment.said() and "TheReason" in environment.said(), "the log tells of it")
        environment.invoke({}, next=request)
        post = environment.stream(f"00000000-0000-4000-8000-{environment._count:012}")
        equal(post.chunk(), b"first", "chunk")
        post.connection.cut()
        environment.noted("left")
        (environment.directory / "gate" / "left").unlink()
        (environment.directory / "gate" / "go").unlink()


def test_refused_result_is_no_end(scene: Scene) -> None:
    """A result or an error that comes too late is logged, and the next invocation comes."""
    for handler in ("common.echo", "common.fails", "common.empty"):
        environment = scene.start(handler)
        request = environment.next()
        environment.invoke({}, next=request)
        post = environment.request()
        post.body()
        post.answer(410, '{"errorType":"InvokeTimeout"}')
        environment.next()
        check("InvokeTimeout" in environment.said(), "the log tells of it")


def test_invocation_id_is_echoed(scene: Scene) -> None:
    """A nonce that came with the invocation goes back with results, errors and streams."""
    for handler in ("common.echo", "common.fails", "common.empty", "common.breaksFirst"):
        environment = scene.start(handler)
        environment.invoke({}, "Lambda-Runtime-Invocation-Id: nonce-7\r\n")
        post = environment.request()
        equal(post.headers.get("lambda-runtime-invocation-id"), "nonce-7", f"echo by {handler}")
        post.body()
        post.answer()
        environment.invoke({})
        check("lambda-runtime-invocation-id" not in environment.request().headers, "none came, none goes back")


def test_empty_stream_is_one(scene: Scene) -> None:
    """A stream without a chunk has a head and an end."""
    environment = scene.start("common.empty")
    for _ in range(2):
        post = environment.stream(environment.invoke({}))
        equal(post.end(), {}, "trailers")
        post.answer()
    environment.next()


def test_kept_connection_may_be_closed(scene: Scene) -> None:
    """A connection that was closed between two requests is opened anew, for every kind of request."""
    for handler in ("common.echo", "common.fails", "common.waits"):
        environment = scene.start(handler)
        for _ in range(3):
            request = environment.next()
            environment.invoke({}, next=request)
            request.connection.cut()
            environment.seen("go")
            post = environment.request()
            post.body()
            post.answer()
            post.connection.cut()
            (environment.directory / "gate" / "go").unlink()
        environment.next()


def test_errors_of_the_start(scene: Scene) -> None:
    """A module or handler that is missing or broken is told before any invocation, and the process ends."""
    code = scene.code(
        broken_dot_mjs="export const handler = async () => { return",
        broken_dot_py="def handler(event, context):\n    return (",
        lost_dot_mjs="import 'no-such-package'; export const handler = 1;",
        lost_dot_py="import no_such_package",
        other_dot_mjs="export const handler = 1;",
        other_dot_py="handler = 1",
        raises_dot_mjs="null.x; export const handler = 1;",
        raises_dot_py="None.x",
    )
    kinds = {
        "absent.handler": "Runtime.ImportModuleError",
        "lost.handler": "Runtime.ImportModuleError",
        "other.absent": "Runtime.HandlerNotFound",
        "other.handler": "Runtime.HandlerNotFound",
        "broken.handler": "Runtime.UserCodeSyntaxError",
        "raises.handler": "TypeError" if scene.language == "node" else "AttributeError",
        "nodot": "Runtime.MalformedHandlerName",
    }
    for handler, kind in kinds.items():
        environment = scene.start(handler, code)
        error = environment.error("init/error", kind)
        check(error["errorMessage"], "there is a message")
        equal(environment.exit_code(), 1, "exit code")
        check(kind in environment.said(), f"the log tells of it: {environment.said()}")


def test_broken_event_is_an_error(scene: Scene) -> None:
    """An event that isn't JSON fails its invocation only."""
    environment = scene.start("common.echo")
    request = environment.next()
    request.answer(200, "{", "Lambda-Runtime-Aws-Request-Id: x\r\nLambda-Runtime-Deadline-Ms: 1\r\n")
    kind = {"node": "SyntaxError", "python": "Runtime.UnmarshalError"}[scene.language]
    environment.error("invocation/x/error", kind)
    environment.next()


def test_runtime_ends_with_the_runtime_api(scene: Scene) -> None:
    """When the Runtime API is gone or broken, so is the process."""
    environment = scene.start("common.echo")
    environment.next().answer(500)
    equal(environment.exit_code(), 1, "exit code")
    environment = scene.start("common.echo")
    request = environment.next()
    environment._listener.close()
    request.connection.cut()
    equal(environment.exit_code(), 1, "exit code")


def test_thousand_invocations_leave_nothing(scene: Scene) -> None:
    """A thousand streams, some broken and some left by their client, keep memory and descriptors flat."""
    environment = scene.start("common.mixed")

    def invoke(number: int) -> None:
        kind = number % 10
        request_id = environment.invoke({"fails": kind == 9})
        if kind == 9:
            environment.error(f"invocation/{request_id}/error", ERROR[scene.language])
            return
        post = environment.stream(request_id)
        if kind == 8:
            post.connection.cut()
            return
        equal(post.read(8000), b"x" * 8000, "body")
        equal(post.end(), {}, "trailers")
        post.answer()

    for number in range(300):
        invoke(number)
    memory, descriptors = environment.memory(), environment.descriptors()
    for number in range(1000):
        invoke(number)
    last = environment.next()
    eventually("descriptors are back", lambda: environment.descriptors() <= descriptors + 1, GUARD)
    grown = environment.memory() - memory
    check(grown < 12 * 1024 * 1024, f"memory has grown by {grown} bytes")
    environment.invoke({"fails": False}, next=last)
