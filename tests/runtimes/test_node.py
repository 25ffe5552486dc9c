"""What only Node's runtime does."""

import http.server
import json
import threading

from claims import check, equal, eventually, stalled
from harness import INTEGRATION, RAW, Scene, broken

MODULE = "export const handler = async () => 'module';"
SCRIPT = "exports.handler = async () => 'script';"


def test_modules_of_every_kind_load(scene: Scene) -> None:
    """ES modules and CommonJS, by ending and by package.json, in folders, with dotted members and top-level await."""
    code = scene.code(
        a_dot_mjs=MODULE,
        b_dot_cjs=SCRIPT,
        c_dot_js=SCRIPT,
        esm__package_dot_json='{"type": "module"}',
        esm__d_dot_js=MODULE,
        esm__deep__er__e_dot_js=MODULE,
        esm__cjs__package_dot_json="{}",
        esm__cjs__f_dot_js=SCRIPT,
        g_dot_mjs="export const api = { v1: { handler: async () => 'nested' } };",
        h_dot_mjs="const late = await new Promise((done) => setTimeout(done, 20, 'awaited'));\n"
        "export const handler = async () => late;",
        i__index_dot_js=SCRIPT,
        j_dot_mjs="export default async () => 'default';",
        node_modules__pack__package_dot_json='{"main": "main.js"}',
        node_modules__pack__main_dot_js=SCRIPT,
        k_dot_mjs="import pack from 'pack'; export const handler = pack.handler;",
    )
    expected = {
        "a.handler": "module",
        "b.handler": "script",
        "c.handler": "script",
        "esm/d.handler": "module",
        "esm/deep/er/e.handler": "module",
        "esm/cjs/f.handler": "script",
        "g.api.v1.handler": "nested",
        "h.handler": "awaited",
        "i.handler": "script",
        "j.default": "default",
        "pack.handler": "script",
        "k.handler": "script",
    }
    for handler, result in expected.items():
        equal(scene.start(handler, code).result({}), result, handler)


def test_callbacks_answer(scene: Scene) -> None:
    """Callbacks and the context's done, succeed and fail answer, the first of them only; thenables too."""
    equal(scene.start("callbacks.callback").result({"a": 1}), {"got": {"a": 1}}, "callback")
    expected = {"done": "done", "succeed": "succeeded", "twice": 1, "silent": None, "thenable": "thenable"}
    for member, result in expected.items():
        environment = scene.start(f"callbacks.{member}")
        for _ in range(2):
            equal(environment.result({}), result, member)
    equal(scene.start("callbacks.callbackError").failure("RangeError")["errorMessage"], "by callback", "message")
    equal(scene.start("callbacks.callbackText").failure("string")["errorMessage"], "just text", "message")
    equal(scene.start("callbacks.fail").failure("Error")["errorMessage"], "failed", "message")
    equal(scene.start("callbacks.throwsText").failure("string")["errorMessage"], "text", "message")
    message = scene.start("callbacks.circular").failure("Error")["errorMessage"]
    check(message.startswith("Unable to stringify response body"), message)


def test_callback_waits_for_an_empty_event_loop(scene: Scene) -> None:
    """A callback's result waits for what still runs, unless the context says not to."""
    for waits in (True, False):
        environment = scene.start("callbacks.waits")
        equal(environment.result({"waits": waits}), "at once", "result")
        later = environment.directory / "gate" / "later"
        equal(later.exists(), waits, "whether what was left running has run")


def test_stream_waits_for_an_empty_event_loop(scene: Scene) -> None:
    """After a stream, too, the next invocation waits for what still runs, unless the context says not to."""
    for waits in (True, False):
        environment = scene.start("streams.timers")
        post = environment.stream(environment.invoke({"waits": waits}))
        equal(post.body(), b"done", "body")
        post.answer()
        environment.next()
        later = environment.directory / "gate" / "later"
        equal(later.exists(), waits, "whether what was left running has run")


def test_objects_are_written_as_json(scene: Scene) -> None:
    """Objects and numbers become JSON, bytes stay bytes; the content type is settled with the first write."""
    environment = scene.start("streams.objects")
    post = environment.stream(environment.invoke({}), "application/x-ndjson")
    equal(post.body(), b'{"a":1}[1,2]7ABCRuntime.InvalidStreamingOperation{"last":true}', "body")


def test_prelude_without_a_write(scene: Scene) -> None:
    """Metadata is sent when the handler only ends its stream, with a warning that on AWS it isn't."""
    for handler, payload in (("streams.onlyEnd", b""), ("streams.endWithText", b"all of it")):
        environment = scene.start(handler)
        post = environment.stream(environment.invoke({}), INTEGRATION)
        prelude, mark, rest = post.body().partition(bytes(8))
        check(mark and isinstance(json.loads(prelude), dict), f"prelude {prelude!r}")
        equal(rest, payload, "payload")
        post.answer()
        environment.next()
        check("warning: " in environment.said(), "it warns")


def test_streaming_handlers_must_be_async(scene: Scene) -> None:
    """A streaming handler that returns no promise fails."""
    environment = scene.start("streams.notAsync")
    for _ in range(2):
        message = environment.failure("string")["errorMessage"]
        equal(message, "Streaming does not support non-async handlers.", "message")
    environment.next()


def test_unfinished_stream_is_an_error(scene: Scene) -> None:
    """A handler that is done, leaves nothing running and hasn't ended its stream fails, before or after a write."""
    environment = scene.start("streams.unfinished")
    for _ in range(2):
        equal(environment.failure("string", {})["errorMessage"], "Response stream is not finished.", "message")
        post = environment.stream(environment.invoke({"write": True}))
        equal(post.chunk(), b"some", "chunk")
        equal(broken(post.end(), "string")["errorMessage"], "Response stream is not finished.", "message")
        post.answer()
    environment.next()


def test_stream_may_outlast_its_handler(scene: Scene) -> None:
    """A source that is piped and not awaited streams to its end."""
    environment = scene.start("streams.unawaited")
    for _ in range(2):
        post = environment.stream(environment.invoke({}))
        for number in range(3):
            equal(post.chunk(), f"piece {number};".encode(), "chunk")
            environment.seen(number)
        equal(post.end(), {}, "trailers")
        post.answer()
    environment.next()


def test_close_wakes_a_handler_that_only_waits(scene: Scene) -> None:
    """The stream closes as soon as the connection does, also while the handler does nothing else."""
    environment = scene.start("streams.never")
    post = environment.stream(environment.invoke({}))
    equal(post.chunk(), b"some", "chunk")
    environment.noted("idle")
    post.connection.cut()
    environment.noted("left")
    environment.next()


def test_slow_reader_holds_up_a_pipeline(scene: Scene) -> None:
    """A peer that stops reading makes a pipeline pause within a few MiB; when it reads on, all arrives."""
    environment = scene.start("streams.flood")
    count = 2000
    post = environment.stream(environment.invoke({"count": count}))
    made = stalled(lambda: int(environment.noted("made")))
    check(made < 160, f"{made} of {count} blocks of 64 KiB were made while nobody read")
    memory = environment.memory()
    check(memory < 160 * 1024 * 1024, f"memory while nobody reads: {memory}")
    for _ in range(count):
        equal(post.read(65536), b"x" * 65536, "block")
    equal(post.end(), {}, "trailers")
    post.answer()
    environment.noted("piped")
    environment.next()


def test_client_that_leaves_a_pipeline(scene: Scene) -> None:
    """A pipeline that waits for its reader ends when the reader leaves; that nobody awaits it isn't a crash."""
    environment = scene.start("streams.flood")
    for unawaited in (False, True):
        post = environment.stream(environment.invoke({"count": 100_000, "unawaited": unawaited}))
        stalled(lambda: int(environment.noted("made")))
        post.connection.cut()
        (environment.directory / "gate" / "made").unlink(missing_ok=True)
    environment.next()
    check(environment.process.poll() is None, "the runtime still runs")


def test_writes_after_the_client_left_are_harmless(scene: Scene) -> None:
    """Who waits for `drain` goes on, later writes only tell their callbacks, and no error is raised."""
    environment = scene.start("streams.drains")
    post = environment.stream(environment.invoke({}))
    environment.noted("full")
    post.connection.cut()
    equal(environment.noted("told"), "the client has left", "what the callback is told")
    environment.next()
    check(not (environment.directory / "gate" / "error").exists(), "no error event")


def test_broken_source_of_a_pipeline(scene: Scene) -> None:
    """The source's error is the function's error, whether or not the handler passes it on."""
    environment = scene.start("streams.pipelineBreaks")
    for swallow in (False, True):
        post = environment.stream(environment.invoke({"swallow": swallow}))
        equal(post.chunk(), b"some", "chunk")
        equal(broken(post.end(), "Error")["errorMessage"], "the source broke", "message")
        post.answer()
        message = environment.failure("Error", {"early": True, "swallow": swallow})["errorMessage"]
        equal(message, "the source broke", "message")
    environment.next()


def test_every_write_is_a_chunk(scene: Scene) -> None:
    """Writes keep their bounds, also when they wait for one another."""
    environment = scene.start("streams.manyWrites")
    post = environment.stream(environment.invoke({}))
    for number in range(50):
        equal(post.chunk(), f"{number};".encode(), "chunk")
    equal(post.end(), {}, "trailers")


def test_high_water_mark_is_kept(scene: Scene) -> None:
    """The option of streamifyResponse reaches the stream."""
    environment = scene.start("streams.water")
    equal(environment.stream(environment.invoke({})).body(), b"4096", "high-water mark")


def test_uncaught_error_in_an_invocation(scene: Scene) -> None:
    """An error that no handler can catch is the invocation's, and the process ends."""
    rejection = "Runtime.UnhandledPromiseRejection"
    for handler, kind, code in (("throwsLater", "Error", 129), ("rejectsLater", rejection, 128)):
        environment = scene.start(f"callbacks.{handler}")
        check("nobody catches" in environment.failure(kind)["errorMessage"], "message")
        equal(environment.exit_code(), code, "exit code")
        check("nobody catches" in environment.said(), "the log tells of it")


def test_uncaught_error_in_a_stream(scene: Scene) -> None:
    """An error that no handler can catch ends a stream with trailers, and the process."""
    for reject, kind, code in ((False, "Error", 129), (True, "Runtime.UnhandledPromiseRejection", 128)):
        environment = scene.start("streams.crashes")
        post = environment.stream(environment.invoke({"write": True, "reject": reject}))
        equal(post.chunk(), b"some", "chunk")
        broken(post.end(), kind)
        post.answer()
        equal(environment.exit_code(), code, "exit code")
        environment = scene.start("streams.crashes")
        environment.failure(kind, {"reject": reject})
        equal(environment.exit_code(), code, "exit code")


def test_uncaught_error_between_invocations(scene: Scene) -> None:
    """An error between two invocations ends the process, and is in the log; so is one of the start."""
    environment = scene.start("callbacks.between")
    equal(environment.result(), None, "result")
    environment.next()
    equal(environment.exit_code(), 1, "exit code")
    check("nobody asked" in environment.said(), "the log tells of it")
    code = scene.code(
        a_dot_mjs="Promise.reject(new Error('early')); await new Promise((done) => setTimeout(done, 1000));",
        b_dot_mjs="await new Promise(() => {});",
    )
    environment = scene.start("a.handler", code)
    environment.error("init/error", "Runtime.UnhandledPromiseRejection")
    check(environment.exit_code() != 0, "exit code")
    environment = scene.start("b.handler", code)
    check("waits" in environment.error("init/error", "Error")["errorMessage"], "message")
    check(environment.exit_code() != 0, "exit code")


def test_function_may_end_the_process(scene: Scene) -> None:
    """process.exit ends it, with its own exit code."""
    environment = scene.start("callbacks.exits")
    environment.invoke()
    equal(environment.exit_code(), 7, "exit code")


def test_lines_are_plain(scene: Scene) -> None:
    """What a function prints is what is printed."""
    environment = scene.start("callbacks.prints")
    environment.result()
    eventually("both lines are there", lambda: environment.said() == "to stdout 1\nto stderr\n")


def test_function_and_runtime_share_http(scene: Scene) -> None:
    """A function may fetch, and replace what `http` offers."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = scene.start("streams.fetches")
    for _ in range(2):
        post = environment.stream(environment.invoke({"url": f"http://127.0.0.1:{server.server_port}/"}), RAW)
        equal(post.body(), b"hello", "body")
        post.answer()
    environment.next()
    server.shutdown()
    environment = scene.start("callbacks.patched")
    for _ in range(2):
        environment.result()


class Hello(http.server.BaseHTTPRequestHandler):
    """Says hello."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        """Nothing."""
