"""Runs Python handlers: functions that return a value, and generators that stream."""

import http.client
import importlib
import inspect
import json
import os
import sys

sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
API = os.environ["AWS_LAMBDA_RUNTIME_API"]
connection = http.client.HTTPConnection(API)


def call(method, what, body=None, headers={}):
    connection.request(method, "/2018-06-01/runtime/" + what, body, headers)
    response = connection.getresponse()
    return response.headers, response.read()


def told(error):
    return json.dumps({"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": []})


try:
    module, name = os.environ["_HANDLER"].rsplit(".", 1)
    handler = getattr(importlib.import_module(module.replace("/", ".")), name)
except Exception as error:
    call("POST", "init/error", told(error), {"Lambda-Runtime-Function-Error-Type": "Runtime." + type(error).__name__})
    sys.exit(1)

while True:
    headers, event = call("GET", "invocation/next")
    what = "invocation/" + headers["Lambda-Runtime-Aws-Request-Id"]
    try:
        result = handler(json.loads(event), None)
        if inspect.isgenerator(result):
            pieces = (piece.encode() if isinstance(piece, str) else piece for piece in result)
            mode = {"Lambda-Runtime-Function-Response-Mode": "streaming", "Content-Type": "application/octet-stream"}
            call("POST", what + "/response", pieces, mode)
        else:
            call("POST", what + "/response", json.dumps(result))
    except Exception as error:
        call("POST", what + "/error", told(error), {"Lambda-Runtime-Function-Error-Type": "Unhandled"})
