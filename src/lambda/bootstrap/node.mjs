// Runs Node.js handlers: buffered ones, and streaming ones made by awslambda.streamifyResponse.
import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true });
const STREAMS = Symbol("streams");
globalThis.awslambda = { streamifyResponse: (handler) => Object.assign(handler, { [STREAMS]: true }) };

function call(method, what, headers = {}) {
  return http.request({ host, port, agent, method, path: `/2018-06-01/runtime/${what}`, headers });
}
function answered(request) {
  return new Promise((resolve, reject) => {
    request.on("error", reject).on("response", async (response) => {
      const chunks = [];
      for await (const chunk of response) chunks.push(chunk);
      resolve({ headers: response.headers, body: Buffer.concat(chunks) });
    });
  });
}
function send(method, what, body, headers) {
  const request = call(method, what, headers);
  const answer = answered(request);
  request.end(body);
  return answer;
}
const told = (error) => JSON.stringify({ errorType: error?.name ?? "Error", errorMessage: String(error?.message ?? error), trace: [] });

let handler;
try {
  const [file, name] = process.env._HANDLER.split(".");
  const load = async (extension) => import(pathToFileURL(path.resolve(process.env.LAMBDA_TASK_ROOT, file + extension)));
  handler = (await load(".mjs").catch(() => load(".js")))[name];
} catch (error) {
  await send("POST", "init/error", told(error), { "Lambda-Runtime-Function-Error-Type": "Runtime.InitError" });
  process.exit(1);
}
for (;;) {
  const { headers, body } = await send("GET", "invocation/next");
  const id = headers["lambda-runtime-aws-request-id"];
  try {
    if (handler[STREAMS]) {
      const stream = call("POST", `invocation/${id}/response`, { "Lambda-Runtime-Function-Response-Mode": "streaming", "Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked" });
      const answer = answered(stream).catch(() => {});
      await handler(JSON.parse(body), stream, { awsRequestId: id });
      await answer;
    } else {
      await send("POST", `invocation/${id}/response`, JSON.stringify(await handler(JSON.parse(body), { awsRequestId: id })));
    }
  } catch (error) {
    await send("POST", `invocation/${id}/error`, told(error), { "Lambda-Runtime-Function-Error-Type": "Unhandled" });
  }
}
