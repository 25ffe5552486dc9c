// Functions as their authors write them. Chunk n + 1 is made only after somebody has said that chunk n was seen, by a
// file in the directory `steps`.
import { existsSync, writeFileSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

const CHUNKS = 4;

const seen = async (steps, number) => {
  while (!existsSync(`${steps}/${number}`)) await sleep(5);
};

async function* chunks(steps, count = CHUNKS) {
  for (let number = 0; number < count; number++) {
    if (number > 0) await seen(steps, number - 1);
    yield `chunk ${String(number).padStart(4, "0")}\n`;
  }
}

const stepsOf = (event) => event.queryStringParameters?.steps ?? event.steps;

export const buffered = async (event, context) => ({
  statusCode: 200,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ event, requestId: context.awsRequestId }),
});

export const echo = async (event) => event;

export const fails = async () => {
  throw new RangeError("out of range");
};

export const streamed = awslambda.streamifyResponse(async (event, responseStream) => {
  const stream = awslambda.HttpResponseStream.from(responseStream, {
    statusCode: 201,
    headers: { "Content-Type": "text/plain", "X-Own": "yes" },
    cookies: ["a=1", "b=2"],
  });
  for await (const chunk of chunks(stepsOf(event))) stream.write(chunk);
  stream.end();
});

export const piped = awslambda.streamifyResponse(async (event, responseStream) => {
  responseStream.setContentType("text/plain");
  await pipeline(Readable.from(chunks(stepsOf(event))), responseStream);
});

export const breaks = awslambda.streamifyResponse(async (_event, responseStream) => {
  const stream = awslambda.HttpResponseStream.from(responseStream, { statusCode: 200 });
  stream.write("the beginning\n");
  await sleep(100);
  throw new Error("broke in the middle");
});

export const endless = awslambda.streamifyResponse(async (event, responseStream) => {
  const stream = awslambda.HttpResponseStream.from(responseStream, { statusCode: 200 });
  const { appendFileSync } = await import("node:fs");
  responseStream.on("close", () => appendFileSync(`${stepsOf(event)}/closed`, "closed\n"));
  stream.write("the beginning\n");
  while (!responseStream.destroyed) await sleep(20);
});

export const dies = awslambda.streamifyResponse(async (_event, responseStream) => {
  const stream = awslambda.HttpResponseStream.from(responseStream, { statusCode: 200 });
  stream.write("the beginning\n");
  await sleep(100);
  process.kill(process.pid, "SIGKILL");
});

export const finishes = awslambda.streamifyResponse(async (event, responseStream) => {
  const stream = awslambda.HttpResponseStream.from(responseStream, { statusCode: 200 });
  stream.write("the beginning\n");
  await seen(stepsOf(event), 0);
  stream.write("the end\n");
  stream.end();
  writeFileSync(`${stepsOf(event)}/mark`, "");
});

export const marks = async (event) => {
  writeFileSync(`${event.steps}/mark`, JSON.stringify(event));
};

export const logs = async (event, context) => {
  console.log(`here I am: ${event.name}`);
  return context.clientContext ?? null;
};

export const hangs = async () => {
  await sleep(60_000);
};

// Does what the query asks for.
const kinds = { streamed, breaks, endless, dies };
export const mixed = awslambda.streamifyResponse(async (event, responseStream, context) => {
  const kind = event.queryStringParameters.kind;
  if (kind === "exits") process.exit(3);
  if (kind === "fails") throw new RangeError("out of range");
  await kinds[kind](event, responseStream, context);
});
