// GETs the URL it is given and tells what happens, one line of JSON for each event of Node's own client.
import http from "node:http";

const tell = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));

const request = http.request(process.argv[2], (response) => {
  tell("response", { status: response.statusCode, headers: response.headers });
  response.on("data", (data) => tell("data", { text: data.toString() }));
  response.on("end", () => tell("end", { complete: response.complete }));
  response.on("aborted", () => tell("aborted"));
  response.on("error", (error) => tell("error", { code: error.code }));
  response.on("close", () => tell("close"));
});
request.on("error", (error) => tell("request error", { code: error.code }));
request.end();
