// Prints each chunk of a response with the time of its arrival. `node client.mjs URL`
import http from "node:http";

const url = process.argv[2] ?? "http://127.0.0.1:8080/countdown";
const began = performance.now();
const tell = (text) => console.log(`${((performance.now() - began) / 1000).toFixed(3)} s  ${text}`);

const request = http.request(url, (response) => {
  tell(`status ${response.statusCode}`);
  response.setEncoding("utf8"); // a character may be split between two chunks
  response.on("data", (chunk) => tell(JSON.stringify(chunk)));
  response.on("end", () => tell("complete"));
  // A stream that was cut has no "end". Without this handler the error would end the program.
  response.on("error", (error) => {
    tell(`broken off: ${error.code}`);
    process.exitCode = 1;
  });
});

// No connection, or no response at all.
request.on("error", (error) => {
  tell(`failed: ${error.message}`);
  process.exitCode = 1;
});
request.end();
