"""One document, whose functions run here or behind another gateway's Invoke API; and what calls are signed with."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from claims import equal, eventually
from harness import Gateway, Scene, http_stream
from stage import KEYS, Steps, get, in_lock_step, integration, node, outcomes, rest, serve, url, whole

HANDLERS = ["streamed", "buffered", "breaks", "fails", "dies"]


def here_and_there(scene: Scene) -> tuple[Gateway, Gateway]:
    """A gateway with local functions, and one of the same paths that calls them by the other's Invoke API."""
    here = serve(scene, {handler: node(scene, handler) for handler in HANDLERS}, name="here")
    functions = {handler: {"endpoint": here.url} for handler in HANDLERS}
    return here, serve(scene, functions, name="there", environment=KEYS)


def test_streams_are_in_lock_step(scene: Scene) -> None:
    """STREAM and RESPONSE_STREAM: through two gateways, too, a chunk arrives before the next is made."""
    for gateway in here_and_there(scene):
        for address in (rest, url):
            steps = Steps(scene)
            with in_lock_step(address(gateway, "streamed", steps), steps, {"x-own": "yes"}) as response:
                equal(response.headers.get_list("set-cookie"), ["a=1", "b=2"], "cookies")


def test_results_are_the_same(scene: Scene) -> None:
    """BUFFERED: the same head and body, and the event tells of the client, not of the gateway between."""
    results = [get(rest(gateway, "buffered", "x", mode="buffered")) for gateway in here_and_there(scene)]
    for result in results:
        equal((result.status_code, result.headers["content-type"]), (200, "application/json"), "head")
        event = result.json()["event"]
        equal((event["path"], event["queryStringParameters"]), ("/buffered/buffered", {"steps": "x"}), "event")
        equal(event["requestContext"]["identity"]["sourceIp"], "127.0.0.1", "sourceIp")
    equal(results[0].json()["event"].keys(), results[1].json()["event"].keys(), "keys of the event")
    # The URL of a function that is elsewhere collects a stream, too.
    by_url = get(url(here_and_there(scene)[1], "streamed-whole", Steps(scene).all_seen()))
    equal((by_url.status_code, by_url.content), (201, whole()), "by a buffered URL")


def test_errors_are_the_same(scene: Scene) -> None:
    """Errors before the head are the same answers, later ones cut the stream, and the records say why."""
    for gateway in here_and_there(scene):
        equal(get(rest(gateway, "fails", mode="buffered")).status_code, 502, "BUFFERED")
        equal(get(rest(gateway, "fails")).status_code, 500, "STREAM")
        equal(get(url(gateway, "fails")).status_code, 502, "function URL")
        for name in ("breaks", "dies"):
            fetched = scene.fetch(rest(gateway, name))
            equal((fetched.returncode, fetched.stdout), (18, b"the beginning\n"), name)
        equal(outcomes(gateway, 5)[3:5], ["integration_truncated"] * 2, "outcomes")


def test_endpoints_that_refuse(scene: Scene) -> None:
    """A function that the endpoint doesn't have is 500, as on AWS; an endpoint that isn't there 504."""
    here = serve(scene, {"other": node(scene, "echo")}, name="here")
    functions = {"gone": {"endpoint": here.url}, "nowhere": {"endpoint": "http://127.0.0.1:1"}}
    there = serve(scene, functions, name="there", environment=KEYS)
    for mode in ("stream", "buffered"):
        equal(get(rest(there, "gone", mode=mode)).status_code, 500, f"{mode}: a function that isn't there")
        equal(get(rest(there, "nowhere", mode=mode)).status_code, 504, f"{mode}: an endpoint that isn't there")


def test_clients_that_leave(scene: Scene) -> None:
    """A function elsewhere runs on when the client leaves, as on AWS; with `cancel` its stream is closed."""
    here = serve(scene, {name: node(scene, name) for name in ("finishes", "endless")}, name="here")
    paths = {
        "/finishes": integration("finishes", "STREAM"),
        "/endless": integration("endless", "STREAM", **{"x-sluicegate-on-client-disconnect": "cancel"}),
    }
    functions = {name: {"endpoint": here.url} for name in ("finishes", "endless")}
    there = scene.serve(paths, name="there", environment=KEYS, functions=functions)
    for number, (name, mark) in enumerate((("finishes", "mark"), ("endless", "closed"))):
        steps = Steps(scene)
        with http_stream(f"{there.url}/{name}?steps={steps}") as (_, read):
            equal(read(14), b"the beginning\n", "first chunk")
        equal(outcomes(there, number + 1)[number], "client_left", "outcome")
        steps.seen(0)
        eventually(f"{name}: the function has noted it", (steps.path / mark).exists)


class Endpoint(BaseHTTPRequestHandler):
    """Signs each request once more with botocore, and notes whether that is the signature which it has."""

    protocol_version = "HTTP/1.1"
    verdicts: list[bool] = []

    def do_POST(self) -> None:
        """Answers an Invoke."""
        event = self.rfile.read(int(self.headers["Content-Length"]))
        said = self.headers["Authorization"]
        names = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        headers = {name: self.headers[name] for name in names if name != "host"}
        address = f"http://{self.headers['Host']}{self.path}"
        request = botocore.awsrequest.AWSRequest("POST", address, headers, event)
        request.context["timestamp"] = self.headers["X-Amz-Date"]
        keys = botocore.credentials.Credentials(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"])
        signer = botocore.auth.SigV4Auth(keys, "lambda", "us-east-1")
        signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        self.verdicts.append(said.endswith(f"Signature={signature}"))
        self.send_response(200)
        self.send_header("Content-Length", "19")
        self.end_headers()
        self.wfile.write(b'{"statusCode": 202}')

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_signatures_are_botocores(scene: Scene) -> None:
    """Calls are signed with the keys of the environment, as botocore would sign the same request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        port = server.server_address[1]
        arn = "arn:aws:lambda:us-east-1:123456789012:function:x:live"
        functions = {"x": {"endpoint": f"http://127.0.0.1:{port}", "functionName": arn}}
        gateway = serve(scene, functions, environment=KEYS)
        for body in (b"", "ä & = %".encode()):
            equal(get(rest(gateway, "x", body.hex(), mode="buffered")).status_code, 202, "status")
    finally:
        server.shutdown()
    equal(Endpoint.verdicts, [True, True], "whether the signatures are botocore's")
