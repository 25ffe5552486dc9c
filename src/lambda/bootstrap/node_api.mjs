// What a Node function's runtime says to the Lambda Runtime API, and the errors that it tells.
//
// Plain HTTP/1.1 to AWS_LAMBDA_RUNTIME_API (host:port), on connections that are kept.

import http from 'node:http';
import util from 'node:util';

const API = new URL(`http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/`);
const ERROR_TYPE = 'Lambda-Runtime-Function-Error-Type';
const ERROR_BODY = 'Lambda-Runtime-Function-Error-Body';
const MOST_TRAILER_BYTES = 16 * 1024; // a trailer is a header, and no peer takes endless headers

// Functions and their tracers replace `http.request`; ours stays what it was.
const httpRequest = http.request;
const keptConnections = new http.Agent({ keepAlive: true });

export const TRAILER = [ERROR_TYPE, ERROR_BODY];

export const log = (text) => process.stderr.write(`${text}\n`);

// --- errors, in the words of AWS's runtime

/** An error of the function's making that the runtime names; `cause` lends its trace. */
export function runtimeError(name, message, cause) {
  const error = new Error(message);
  error.name = `Runtime.${name}`;
  const trace = util.types.isNativeError(cause) ? cause.stack : '';
  error.stack = [`${error.name}: ${message}`, ...String(trace).split('\n').slice(1)].join('\n');
  return error;
}

/** What the Runtime API is told of anything that was thrown. */
function errorReport(error) {
  try {
    if (util.types.isNativeError(error) || (error?.name && error?.message && error?.stack)) {
      const trace = String(error.stack).split('\n');
      return { errorType: String(error.name), errorMessage: String(error.message), trace };
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch {
    return { errorType: 'handled', errorMessage: 'the error that was thrown cannot be read', trace: [] };
  }
}

const headerSafe = (text) => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 256);

export function errorTrailers(error) {
  const report = errorReport(error);
  let body = Buffer.from(JSON.stringify(report)).toString('base64');
  if (body.length > MOST_TRAILER_BYTES) {
    const errorMessage = report.errorMessage.slice(0, MOST_TRAILER_BYTES / 8);
    body = Buffer.from(JSON.stringify({ ...report, errorMessage, trace: [] })).toString('base64');
  }
  return { [ERROR_TYPE]: headerSafe(report.errorType), [ERROR_BODY]: body };
}

// --- the Runtime API

/** A request on a kept connection, or on one of its own if there is no `agent`. */
export function requestTo(target, method, headers, onResponse, agent = keptConnections) {
  const options = { agent, method, headers, host: API.hostname, port: API.port, path: API.pathname + target };
  const request = httpRequest(options, onResponse);
  request.setNoDelay(true);
  return request;
}

export function textOf(response, done) {
  let text = '';
  response.setEncoding('utf8').on('data', (part) => { text += part; });
  response.on('end', () => done(text)).on('error', () => done(text));
}

/** One exchange whose body is known. A kept connection may have been closed meanwhile: then once more, on a new one. */
function exchange(method, target, headers = {}, body = '') {
  return new Promise((resolve, reject) => {
    const content = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
    const all = method === 'GET' ? headers : { ...content, ...headers };
    const request = requestTo(target, method, all, (response) => {
      textOf(response, (text) => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    request.on('error', (error) => {
      const wasClosed = request.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code);
      if (wasClosed) exchange(method, target, headers, body).then(resolve, reject);
      else reject(error);
    });
    request.end(body);
  });
}

/** Says what the Runtime API refused. 4xx concerns one invocation (410: it came too late); 5xx ends the environment. */
export function judge(status, text, target) {
  if (status >= 300) log(`the Runtime API answered ${status} to ${target}: ${text.slice(0, 500)}`);
  if (status >= 500) process.exit(1);
}

/** Tells an error, with which the environment may end. */
export async function postError(target, error, headers = {}) {
  const report = errorReport(error);
  const all = { ...headers, [ERROR_TYPE]: headerSafe(report.errorType) };
  const { status, text } = await exchange('POST', target, all, JSON.stringify(report));
  judge(status, text, target);
}

/** One invocation, as /next told of it. */
export class Invocation {
  constructor(headers, body) {
    this.headers = headers;
    this.body = body;
    this.target = `invocation/${encodeURIComponent(headers['lambda-runtime-aws-request-id'])}`;
    const nonce = headers['lambda-runtime-invocation-id'];
    this.echoed = nonce ? { 'Lambda-Runtime-Invocation-Id': nonce } : {};
  }

  static async next() {
    const { status, headers, text } = await exchange('GET', 'invocation/next');
    if (status === 200) return new Invocation(headers, text);
    throw new Error(`the Runtime API answered ${status} to invocation/next: ${text.slice(0, 500)}`);
  }

  async succeed(body) {
    const target = `${this.target}/response`;
    const { status, text } = await exchange('POST', target, this.echoed, body);
    judge(status, text, target);
  }

  fail(error) {
    return postError(`${this.target}/error`, error, this.echoed);
  }

  /** The context for the handler, with whatever else its kind of handler gets. */
  context(members) {
    const environment = process.env;
    const parsed = (name) => (this.headers[name] === undefined ? undefined : JSON.parse(this.headers[name]));
    const deadline = Number(this.headers['lambda-runtime-deadline-ms']);
    return Object.assign(members, {
      functionVersion: environment.AWS_LAMBDA_FUNCTION_VERSION,
      functionName: environment.AWS_LAMBDA_FUNCTION_NAME,
      memoryLimitInMB: environment.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      logGroupName: environment.AWS_LAMBDA_LOG_GROUP_NAME,
      logStreamName: environment.AWS_LAMBDA_LOG_STREAM_NAME,
      clientContext: parsed('lambda-runtime-client-context'),
      identity: parsed('lambda-runtime-cognito-identity'),
      invokedFunctionArn: this.headers['lambda-runtime-invoked-function-arn'],
      awsRequestId: this.headers['lambda-runtime-aws-request-id'],
      tenantId: this.headers['lambda-runtime-aws-tenant-id'],
      getRemainingTimeInMillis: () => deadline - Date.now(),
    });
  }
}
