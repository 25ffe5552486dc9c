// Runs a Node function in an execution environment: takes invocations from the Lambda Runtime API, calls the handler
// and brings back its result, its stream or its error. Needs Node 18 and nothing else.
//
// Environment: AWS_LAMBDA_RUNTIME_API (host:port), _HANDLER (`src/index.handler`), LAMBDA_TASK_ROOT. Handlers are found
// and called as by AWS's own runtime; where this one is kinder, docs/functions.md says so.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { Invocation, log, postError, runtimeError } from './node_api.mjs';
import { HIGH_WATER_MARK, ResponseStream, STREAMING } from './node_stream.mjs';

// --- the handler

function isModuleScope(folder) {
  for (let at = folder; !at.endsWith('/node_modules'); at = path.dirname(at)) {
    const file = path.join(at, 'package.json');
    if (fs.existsSync(file)) return JSON.parse(fs.readFileSync(file, 'utf8')).type === 'module';
    if (at === path.dirname(at)) break;
  }
  return false;
}

/** The module at `root/folder/name`, with whatever ending; else a package of that name. */
async function loadModule(root, folder, name) {
  const require = createRequire(path.join(root, 'handler.js'));
  const file = path.resolve(root, folder, name);
  const isModule = isModuleScope(path.dirname(file));
  const load = (name) => import(pathToFileURL(name).href);
  const kinds = [['', require], ['.js', isModule ? load : require], ['.mjs', load], ['.cjs', require]];
  for (const [ending, how] of kinds) {
    if (fs.statSync(file + ending, { throwIfNoEntry: false })?.isFile()) return how(file + ending);
  }
  return require(fs.existsSync(file) ? file : path.join(folder, name)); // a folder with an index, a package
}

async function loadHandler(root, name) {
  const [, module, member] = /^([^.]*)\.(.*)$/.exec(path.basename(name)) ?? [];
  if (name.includes('..') || !member) {
    throw runtimeError('MalformedHandlerName', `'${name}' is not a valid handler name: it is written as file.function`);
  }
  let exported;
  try {
    exported = await loadModule(root, path.dirname(name), module);
  } catch (error) {
    if (error instanceof SyntaxError) throw runtimeError('UserCodeSyntaxError', `${error}`, error);
    if (/^(ERR_)?MODULE_NOT_FOUND$/.test(error?.code)) throw runtimeError('ImportModuleError', `${error}`, error);
    throw error;
  }
  const handler = member.split('.').reduce((object, key) => object?.[key], exported);
  if (!handler) throw runtimeError('HandlerNotFound', `${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw runtimeError('HandlerNotFound', `${name} is not a function`);
  if (![undefined, null, false, 'response'].includes(handler[STREAMING])) {
    throw runtimeError('MalformedStreamingHandler', 'Only response streaming is supported.');
  }
  return handler;
}

const isPromise = (value) => typeof value?.then === 'function';

// --- invocations

/** What happens when nothing is left that could: the event loop is empty. During the start, that is an error. */
let onIdle = () => abandon(new Error('the module waits for what never comes'), 1);

/** The invocation that has not been answered yet: how to fail it. */
let current = { fail: (error) => postError('init/error', error) };

/** The latest response stream: what it was to carry may complain late. */
let latestStream = null;

const idle = () => new Promise((resolve) => { onIdle = resolve; });

/** Calls a handler that answers with its result: returned, promised, or given to the callback or the context. */
function bufferedResult(handler, event, invocation) {
  return new Promise((resolve, reject) => {
    let isCalled = false; // the first call counts, whichever it is
    const first = (act) => (...given) => {
      if (isCalled) return;
      isCalled = true;
      act(...given);
    };
    const give = (error, result) => (error == null ? resolve(result) : reject(error));
    const context = invocation.context({
      callbackWaitsForEmptyEventLoop: true,
      done: first(give),
      succeed: first(resolve),
      fail: first((error) => reject(error ?? 'handled')),
    });
    const callback = first((error, result) => {
      if (error != null || !context.callbackWaitsForEmptyEventLoop) give(error, result);
      else onIdle = () => resolve(result);
    });
    onIdle = () => resolve(null); // neither a promise nor a callback, and nothing left to wait for
    const returned = handler(event, context, callback);
    if (isPromise(returned)) returned.then(context.succeed, context.fail);
  });
}

async function runBuffered(handler, invocation) {
  let body;
  current = invocation;
  try {
    const result = await bufferedResult(handler, JSON.parse(invocation.body), invocation);
    body = serialized(result);
  } catch (error) {
    console.error('Invoke Error', error);
    await invocation.fail(error);
    return;
  }
  await invocation.succeed(body);
}

function serialized(result) {
  try {
    return JSON.stringify(result) ?? 'null';
  } catch (error) {
    throw new Error(`Unable to stringify response body: ${error.message}`);
  }
}

/** Fails a streamed invocation: in the stream once it has begun, else as an error of its own. */
async function failStream(stream, invocation, error) {
  if (stream.hasBegun || stream.writableEnded) {
    stream.fail(error);
    await stream.settled;
  } else {
    stream.destroy();
    await invocation.fail(error);
  }
}

async function runStreaming(handler, invocation) {
  const stream = new ResponseStream(invocation, handler[HIGH_WATER_MARK]);
  const context = { callbackWaitsForEmptyEventLoop: true };
  latestStream = stream;
  current = { fail: (error) => failStream(stream, invocation, error) };
  try {
    invocation.context(context);
    const isIdle = idle();
    const returned = handler(JSON.parse(invocation.body), stream, context);
    if (!isPromise(returned)) throw 'Streaming does not support non-async handlers.';
    const result = await Promise.race([returned, isIdle]);
    if (result !== undefined) log('warning: Streaming handlers ignore return values.');
    // What the handler has left running may still write, and the stream is unfinished only if nothing is.
    if (!stream.writableEnded) stream.unref();
    await Promise.race([stream.whenClosed, isIdle]);
    if (!stream.writableFinished && !stream.isGone) throw stream.errored ?? 'Response stream is not finished.';
    await stream.settled;
  } catch (error) {
    if (stream.isGone) return; // nobody is left to be told, and the handler's error says just that
    console.error('Invoke Error', error);
    await failStream(stream, invocation, error);
  } finally {
    current = null;
  }
  const whenIdle = idle();
  if (context.callbackWaitsForEmptyEventLoop) await whenIdle;
}

// --- the process

let isAbandoned = false;

/** Tells of an error that no handler can catch any more, and ends. */
async function abandon(error, code) {
  console.error(error);
  if (isAbandoned) return;
  isAbandoned = true;
  setTimeout(() => process.exit(code), 2000); // should nobody take the report
  try {
    await current?.fail(error);
  } finally {
    process.exit(current ? code : 1);
  }
}

process.on('uncaughtException', (error) => abandon(error, 129));
process.on('unhandledRejection', (reason) => {
  // A pipeline that nobody awaits, and whose reader has left. On AWS the reader never leaves, so this isn't a mistake.
  if (reason?.code === 'ERR_STREAM_PREMATURE_CLOSE' && latestStream?.isGone) return;
  abandon(runtimeError('UnhandledPromiseRejection', `${reason}`, reason), 128);
});
process.on('beforeExit', () => {
  const then = onIdle;
  onIdle = () => {};
  setImmediate(then); // a step of the loop, so that it goes on
});

async function main() {
  const root = path.resolve(process.env.LAMBDA_TASK_ROOT ?? '.');
  let handler;
  try {
    handler = await loadHandler(root, process.env._HANDLER ?? '');
  } catch (error) {
    await abandon(error, 1);
  }
  const run = handler[STREAMING] ? runStreaming : runBuffered;
  current = null;
  for (;;) {
    const invocation = await Invocation.next();
    const trace = invocation.headers['lambda-runtime-trace-id'];
    if (trace) process.env._X_AMZN_TRACE_ID = trace;
    else delete process.env._X_AMZN_TRACE_ID;
    await run(handler, invocation);
    current = null;
  }
}

main().catch((error) => {
  log(`the runtime ends: ${error.stack}`);
  process.exit(1);
});
