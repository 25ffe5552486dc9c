// What both runtimes do alike; `common.py` has the same handlers.
import { note, seen } from './gate.mjs';

const { streamifyResponse, HttpResponseStream } = awslambda;

export const echo = async (event) => event;

export const nothing = async () => {};

export const fails = async () => {
  throw new TypeError('no such thing: ünïcode');
};

export const context = async (event, context) => ({
  id: context.awsRequestId,
  arn: context.invokedFunctionArn,
  name: context.functionName,
  version: context.functionVersion,
  memory: context.memoryLimitInMB,
  group: context.logGroupName,
  stream: context.logStreamName,
  remaining: context.getRemainingTimeInMillis(),
  client: context.clientContext?.client.app_title ?? null,
  identity: context.identity?.cognitoIdentityId ?? null,
  trace: process.env._X_AMZN_TRACE_ID ?? null,
});

export const lockstep = streamifyResponse(async (event, stream) => {
  for (let number = 0; number < 4; number += 1) {
    stream.write(`chunk ${number};`);
    await seen(number);
  }
  stream.end();
});

export const metadata = streamifyResponse(async (event, stream) => {
  const http = HttpResponseStream.from(stream, { statusCode: 201, headers: { 'X-A': 'b' }, cookies: ['c=d'] });
  http.write(event.first);
  await seen(0);
  http.end();
});

export const breaks = streamifyResponse(async (event, stream) => {
  stream.write('so far');
  await seen(0);
  throw new RangeError(event?.huge ? 'x'.repeat(100_000) : 'out of range');
});

export const breaksFirst = streamifyResponse(async () => {
  throw new RangeError('before anything');
});

export const endless = streamifyResponse(async (event, stream) => {
  stream.write('first');
  await seen('go');
  while (!stream.destroyed) {
    stream.write('more');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  note('left');
});

export const empty = streamifyResponse(async (event, stream) => stream.end());

export const mixed = streamifyResponse(async (event, stream) => {
  if (event.fails) throw new Error('asked to');
  for (let number = 0; number < 8; number += 1) stream.write('x'.repeat(1000));
  stream.end();
});

export const waits = streamifyResponse(async (event, stream) => {
  await seen('go');
  stream.end();
});
