// A backend that counts down. `node backend.mjs`
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const server = http.createServer(async (request, response) => {
  response.writeHead(200, { "Content-Type": "text/plain" });
  for (let number = 5; number > 0; number--) {
    response.write(`${number}\n`);
    await sleep(500);
    if (request.url === "/fails" && number === 3) {
      return response.destroy(); // in the middle of the stream
    }
  }
  response.end("lift-off\n");
});

server.listen(9000, "127.0.0.1", () => console.log("counting on http://127.0.0.1:9000"));
