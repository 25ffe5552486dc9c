// What only Node's streams can do.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { note, seen } from './gate.mjs';

const { streamifyResponse, HttpResponseStream } = awslambda;

export const objects = streamifyResponse(async (event, stream) => {
  stream.setContentType('application/x-ndjson');
  stream.write({ a: 1 });
  stream.write([1, 2]);
  stream.write(7);
  stream.write(new Uint8Array([65, 66]));
  stream.write(Buffer.from('C'));
  try {
    stream.setContentType('text/plain');
  } catch (error) {
    stream.write(error.name);
  }
  stream.end({ last: true });
});

export const onlyEnd = streamifyResponse(async (event, stream) => {
  HttpResponseStream.from(stream, { statusCode: 204 }).end();
});

export const endWithText = streamifyResponse(async (event, stream) => {
  HttpResponseStream.from(stream, {}).end('all of it');
});

export const notAsync = streamifyResponse(() => {});

export const unfinished = streamifyResponse(async (event, stream) => {
  if (event.write) stream.write('some');
});

export const never = streamifyResponse(async (event, stream) => {
  stream.write('some');
  setTimeout(() => note('idle'), 10);
  await new Promise((resolve) => stream.once('close', resolve));
  note('left');
});

// The handler is done before its stream is: the source goes on by itself.
export const unawaited = streamifyResponse(async (event, stream) => {
  async function* source() {
    for (let number = 0; number < 3; number += 1) {
      yield `piece ${number};`;
      await seen(number);
    }
  }
  Readable.from(source()).pipe(stream);
});

export const flood = streamifyResponse(async (event, stream) => {
  let made = 0;
  async function* source() {
    for (; made < event.count; made += 1) yield Buffer.alloc(65536, 120);
  }
  const reporter = setInterval(() => note('made', `${made}`), 20);
  const piped = pipeline(Readable.from(source()), stream).finally(() => clearInterval(reporter));
  if (event.unawaited) return;
  await piped;
  note('piped');
});

export const drains = streamifyResponse(async (event, stream) => {
  stream.on('error', () => note('error'));
  for (;;) {
    if (stream.write(Buffer.alloc(65536))) continue;
    note('full');
    await new Promise((resolve) => stream.once('drain', resolve));
    if (stream.destroyed) break;
  }
  for (let number = 0; number < 100; number += 1) stream.write('into the void');
  await new Promise((resolve) => stream.write('and told so', (error) => resolve(note('told', error.message))));
  stream.end();
});

export const pipelineBreaks = streamifyResponse(async (event, stream) => {
  async function* source() {
    if (!event.early) yield 'some';
    throw new Error('the source broke');
  }
  if (event.swallow) await pipeline(source, stream).catch(() => {});
  else await pipeline(source, stream);
});

export const manyWrites = streamifyResponse(async (event, stream) => {
  for (let number = 0; number < 50; number += 1) stream.write(`${number};`);
  stream.end();
});

export const crashes = streamifyResponse(async (event, stream) => {
  if (event.write) stream.write('some');
  setTimeout(() => {
    if (event.reject) Promise.reject(new Error('nobody catches'));
    else throw new Error('nobody catches');
  }, 5);
  await new Promise((resolve) => setTimeout(resolve, 10_000));
});

export const timers = streamifyResponse(async (event, stream, context) => {
  context.callbackWaitsForEmptyEventLoop = event.waits;
  setTimeout(() => note('later'), 200);
  stream.end('done');
});

export const fetches = streamifyResponse(async (event, stream) => {
  const answer = await fetch(event.url);
  stream.write(await answer.text());
  stream.end();
});

export const water = streamifyResponse(async (event, stream) => {
  stream.end(String(stream.writableHighWaterMark));
}, { highWaterMark: 4096 });
