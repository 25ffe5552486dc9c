"""An extension that notes its events."""

import http.client
import json
import os
import signal

connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method, path, body=None, headers={}):
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    response = connection.getresponse()
    return response.status, response.headers, json.loads(response.read())


def note(*what):
    with open(".notes", "a") as notes:
        notes.write(json.dumps(what) + "\n")


note("stranger", *call("GET", "event/next", headers={"Lambda-Extension-Identifier": "nobody"})[::2])
wanted = json.dumps({"events": ["INVOKE", "SHUTDOWN"]})
status, headers, about = call("POST", "register", wanted, {"Lambda-Extension-Name": "extension.py"})
identifier = headers["Lambda-Extension-Identifier"]
note("registered", status, about, os.getpid())
while True:
    status, headers, event = call("GET", "event/next", headers={"Lambda-Extension-Identifier": identifier})
    note("event", event)
    if event["eventType"] == "SHUTDOWN":
        break
