"""A runtime that does what its events say: `{"do": [[step, argument...], ...]}`."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
RUNTIME = "/2018-06-01/runtime/"
STREAMING = "Lambda-Runtime-Function-Response-Mode: streaming\r\n"


def call(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(API)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = (response.status, dict(response.headers.items()), response.read().decode())
    connection.close()
    return answer


def note(*what):
    with open(".notes", "a") as notes:
        notes.write(json.dumps(what) + "\n")


def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.002)


class Stream:
    """A /response in parts, over a socket of its own."""

    def __init__(self, path, content_type, more=""):
        host, port = API.split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        trailers = "Trailer: Lambda-Runtime-Function-Error-Type\r\nTrailer: Lambda-Runtime-Function-Error-Body\r\n"
        head = f"POST {path} HTTP/1.1\r\nHost: {API}\r\nTransfer-Encoding: chunked\r\n"
        if content_type:
            head += STREAMING + f"Content-Type: {content_type}\r\n"
        self.socket.sendall((head + more + trailers + "\r\n").encode())

    def chunk(self, data):
        self.socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self, trailers=b""):
        self.socket.sendall(b"0\r\n" + trailers + b"\r\n")
        return self.answer()

    def answer(self):
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        return response.status, response.read().decode()

    def closed(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True


def run(headers, event):
    path = RUNTIME + "invocation/" + headers["Lambda-Runtime-Aws-Request-Id"]
    nonce = headers["Lambda-Runtime-Invocation-Id"]
    stream = None
    for step, *args in event["do"]:
        if step == "buffered":
            note("buffered", *call("POST", path + "/response", args[0])[::2])
        elif step == "buffered_size":
            note("buffered", *call("POST", path + "/response", b"x" * args[0])[::2])
        elif step == "headers":
            call("POST", path + "/response", json.dumps(headers))
        elif step == "environment":
            call("POST", path + "/response", json.dumps({**os.environ, "cwd": os.getcwd()}))
        elif step == "pid":
            call("POST", path + "/response", str(os.getpid()))
        elif step == "error":
            note("error", *call("POST", path + "/error", args[1], {"Lambda-Runtime-Function-Error-Type": args[0]})[::2])
        elif step == "post":
            target, body, more = args
            target = target.replace("ID", headers["Lambda-Runtime-Aws-Request-Id"])
            note("post", *call("POST", target, body, {k: v.replace("NONCE", nonce) for k, v in more.items()})[::2])
        elif step == "get":
            note("get", *call("GET", args[0])[::2])
        elif step == "stream":
            stream = Stream(path + "/response", args[0] if args else None)
        elif step == "chunk":
            stream.chunk(args[0].encode())
        elif step == "flood":
            try:
                for number in range(args[0]):
                    stream.chunk(b"x" * 65536)
                    with open(".flood.new", "w") as flood:
                        flood.write(str((number + 1) * 65536))
                    os.replace(".flood.new", ".flood")
            except ConnectionError:
                note("flood cut")
        elif step == "end":
            note("end", *stream.end())
        elif step == "trailers":
            body = base64.b64encode(args[1].encode())
            names = b"Lambda-Runtime-Function-Error-Type: %s\r\nLambda-Runtime-Function-Error-Body: %s\r\n"
            note("end", *stream.end(names % (args[0].encode(), body)))
        elif step == "cut":
            stream.socket.close()
        elif step == "closed":
            note("closed", stream.closed())
        elif step == "wait":
            wait_for(args[0])
        elif step == "impatient":
            for _ in range(3):
                host, port = API.split(":")
                waiting = socket.create_connection((host, int(port)))
                waiting.sendall(f"GET {RUNTIME}invocation/next HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                time.sleep(0.05)
                waiting.close()
            note("patient")
        elif step == "sleep":
            time.sleep(args[0])
        elif step == "note":
            note(*args)
        elif step == "print":
            print(args[0], flush=True)
        elif step == "exit":
            os._exit(args[0])
        elif step == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif step == "hang":
            threading.Event().wait()
        elif step == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif step == "child":
            # It ignores SIGTERM, too, if its parent does.
            child = subprocess.Popen(["sleep", "1000"])
            note("child", child.pid)
        else:
            raise ValueError(step)


def loop():
    while True:
        status, headers, body = call("GET", RUNTIME + "invocation/next")
        if status != 200:
            note("next", status, body)
            os._exit(9)
        run(headers, json.loads(body))


start = os.environ.get("START", "well")
note("start", start, os.getpid())
if start == "exit":
    print("about to fail", flush=True)
    os._exit(3)
if start == "error":
    error = json.dumps({"errorType": "ImportError", "errorMessage": "no such module"})
    note("init", *call("POST", RUNTIME + "init/error", error, {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportError"})[::2])
    sys.exit(1)
if start == "hang":
    threading.Event().wait()

for _ in range(int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1")) - 1):
    threading.Thread(target=loop, daemon=True).start()
loop()
