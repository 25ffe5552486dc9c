"""A shop that looks its products up one by one, half a second each. Python's standard library is all it needs."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PRODUCTS = ["apple", "banana", "cherry", "date", "elderberry"]


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # 1.0 has no chunks

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, name in enumerate(PRODUCTS):
            time.sleep(0.5)
            if self.path == "/broken" and number == 2:
                # The shop burns down: the connection closes without the last chunk.
                self.close_connection = True
                return
            self.send_chunk(json.dumps({"product": name}).encode() + b"\n")
        self.send_chunk(b"")  # an empty chunk is the last one

    def send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


if __name__ == "__main__":
    print("the shop is open on http://127.0.0.1:9000")
    ThreadingHTTPServer(("127.0.0.1", 9000), Shop).serve_forever()
