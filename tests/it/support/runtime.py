"""A runtime that does what its events say: `{"do": [[step, argument...], ...]}`, the event itself or a request's body."""

import base64
import http.client
import json
import os
import socket
import time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
RUNTIME = "/2018-06-01/runtime/invocation/"


def call(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(API)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = (dict(response.headers.items()), response.read().decode())
    connection.close()
    return answer


def steps(event):
    if "do" in event:
        return event["do"]
    body = event.get("body") or '{"do": [["event"]]}'
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body)
    try:
        return json.loads(body)["do"]
    except ValueError:
        return [["event"]]


def run(path, headers, event):
    stream = None
    for step, *args in steps(event):
        if step == "event":
            told = {"event": event, "headers": headers}
            call("POST", path + "/response", json.dumps({"statusCode": 200, "body": json.dumps(told)}))
        elif step == "return":
            call("POST", path + "/response", json.dumps(args[0]))
        elif step == "size":
            call("POST", path + "/response", json.dumps("x" * args[0]))
        elif step == "error":
            call("POST", path + "/error", json.dumps(args[1]), {"Lambda-Runtime-Function-Error-Type": args[0]})
        elif step == "stream":
            host, port = API.split(":")
            stream = socket.create_connection((host, int(port)))
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.sendall(
                f"POST {path}/response HTTP/1.1\r\nHost: {API}\r\nTransfer-Encoding: chunked\r\n"
                f"Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: {args[0]}\r\n"
                "Trailer: Lambda-Runtime-Function-Error-Type\r\nTrailer: Lambda-Runtime-Function-Error-Body\r\n\r\n".encode()
            )
        elif step == "chunk":
            data = args[0].encode()
            stream.sendall(b"%x\r\n%s\r\n" % (len(data), data))
        elif step == "end":
            trailers = b""
            if args:
                body = base64.b64encode(args[1].encode())
                names = b"Lambda-Runtime-Function-Error-Type: %s\r\nLambda-Runtime-Function-Error-Body: %s\r\n"
                trailers = names % (args[0].encode(), body)
            stream.sendall(b"0\r\n" + trailers + b"\r\n")
            response = http.client.HTTPResponse(stream)
            response.begin()
            response.read()
        elif step == "wait":
            while not os.path.exists(args[0]):
                time.sleep(0.002)
        elif step == "touch":
            open(args[0], "w").close()
        elif step == "print":
            print(args[0], flush=True)
        elif step == "exit":
            os._exit(args[0])
        else:
            raise ValueError(step)


while True:
    headers, body = call("GET", RUNTIME + "next")
    run(RUNTIME + headers["Lambda-Runtime-Aws-Request-Id"], headers, json.loads(body))
