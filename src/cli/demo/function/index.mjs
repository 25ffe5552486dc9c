// The demo's function: each word leaves the moment it is written.
import { setTimeout as sleep } from "node:timers/promises";

const ANSWER = "Written by a Lambda function in Node.js , one word at a time , and passed on as it was written .";

export const handler = awslambda.streamifyResponse(async (event, responseStream) => {
  const stream = awslambda.HttpResponseStream.from(responseStream, {
    statusCode: 200,
    headers: { "Content-Type": "text/event-stream", "Cache-Control": "no-store" },
  });
  for (const word of ANSWER.split(" ")) {
    stream.write(`data: ${word}\n\n`);
    await sleep(120);
  }
  stream.end();
});
