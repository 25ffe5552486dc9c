// The response stream of a Node function, and the global `awslambda` through which functions ask for it.

import { Writable } from 'node:stream';

import { TRAILER, errorTrailers, judge, log, requestTo, runtimeError, textOf } from './node_api.mjs';

const INTEGRATION_RESPONSE = 'application/vnd.awslambda.http-integration-response';

// The marks that AWS's own runtime puts on handlers; bundlers and frameworks know them.
export const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
export const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');

/**
 * The body of a streamed response. The request that carries it begins with the first write, so that an error before it
 * can still be told as an error. When the peer closes the connection (the client has left), the stream is destroyed: it
 * emits `close` without an `error`, and what is written later goes nowhere.
 */
export class ResponseStream extends Writable {
  #invocation;
  #request = null;
  #contentType = 'application/octet-stream';
  #isWritten = false;
  #isGone = false;
  #isUnref = false;
  #failure = null;
  #inFlight = null;
  #settle;

  constructor(invocation, highWaterMark) {
    super(highWaterMark === undefined ? {} : { highWaterMark });
    this.#invocation = invocation;
    this._onBeforeFirstWrite = undefined; // frameworks set this themselves, too
    this.settled = new Promise((resolve) => { this.#settle = resolve; }); // answered, or nobody will
    this.whenClosed = new Promise((resolve) => { this.once('close', resolve); });
    this.on('error', (error) => { // that the handler doesn't listen for it isn't a crash
      if (error.code === 'ERR_STREAM_WRITE_AFTER_END') log(`warning: ${error.message}: what was written is lost`);
    });
  }

  get hasBegun() { return this.#request !== null; }

  setContentType(type) {
    if (this.hasBegun) throw runtimeError('InvalidStreamingOperation', 'Cannot set content-type, too late.');
    this.#contentType = type;
  }

  write(chunk, encoding, callback) {
    this.#isWritten = true;
    if (!this.#isGone) return super.write(asBytes(chunk), encoding, callback);
    const done = typeof encoding === 'function' ? encoding : callback;
    if (done) process.nextTick(done, clientLeft());
    return true; // nobody waits for a `drain` that never comes
  }

  end(chunk, ...rest) {
    return super.end(typeof chunk === 'function' ? chunk : asBytes(chunk), ...rest);
  }

  /** Ends the response with an error that its reader can tell from an end. */
  fail(error) {
    this.#failure = { error };
    if (!this.writableEnded && !this.destroyed) this.end();
  }

  /** From here on, the open connection alone doesn't keep the process from being idle. */
  unref() {
    this.#isUnref = true;
    this.#request?.socket?.unref();
  }

  #ref() {
    this.#isUnref = false;
    this.#request?.socket?.ref();
  }

  _write(chunk, _encoding, done) { this.#send([chunk], done); }

  _writev(writes, done) { this.#send(writes.map(({ chunk }) => chunk), done); }

  /** Every write is a chunk of its own, though those that wait leave together. Done when the kernel has them. */
  #send(chunks, done) {
    this.#inFlight = done;
    const request = this.#request ?? this.#begin();
    const { socket } = request;
    socket?.cork();
    chunks.forEach((chunk, index) => {
      const sent = (error) => (error ? this.#lose() : this.#sent());
      request.write(chunk, index === chunks.length - 1 ? sent : undefined);
    });
    socket?.uncork();
  }

  #sent(error) {
    const done = this.#inFlight;
    this.#inFlight = null;
    done?.(error);
  }

  _final(done) {
    this.#ref(); // the answer is awaited
    if (!this.#isWritten && this._onBeforeFirstWrite && !this.#failure) {
      log('warning: the response ends without a write(): on AWS its metadata is lost then, and the client gets a 500');
    }
    const request = this.#request ?? this.#begin();
    this.#finish(request);
    done();
  }

  _destroy(error, done) {
    const request = this.#request;
    if (request && !request.writableEnded && !this.#isGone) {
      // `pipeline` destroys its destination when the source fails: that error is the function's, and it is told.
      if (error) this.#finish(request, { error });
      else request.destroy();
    }
    if (!request) this.#settle();
    done(error);
  }

  #begin() {
    const headers = {
      'Lambda-Runtime-Function-Response-Mode': 'streaming',
      Trailer: TRAILER,
      'Content-Type': this.#contentType,
      'Transfer-Encoding': 'chunked',
      ...this.#invocation.echoed,
    };
    const target = `${this.#invocation.target}/response`;
    const answered = (response) => {
      const isEarly = !request.writableEnded;
      if (response.statusCode >= 300 && isEarly) this.#lose();
      textOf(response, (text) => {
        judge(response.statusCode, text, target);
        this.#settle();
        if (this.#isGone) request.destroy();
      });
    };
    // A connection of its own: a kept one may have been closed, and a stream can't be sent twice.
    const request = requestTo(target, 'POST', headers, answered, false);
    request.on('error', () => this.#lose()).on('close', () => this.#settle());
    request.on('socket', (socket) => (this.#isUnref ? socket.unref() : socket.ref()));
    this.#request = request;
    this._onBeforeFirstWrite?.((part) => request.write(part));
    return request;
  }

  #finish(request, failure = this.#failure) {
    if (failure) request.addTrailers(errorTrailers(failure.error));
    request.end();
  }

  /** The connection is gone. Whoever waits for room is let go. */
  #lose() {
    if (this.#isGone) return;
    this.#isGone = true;
    const mustDrain = this.writableNeedDrain;
    this.destroy();
    this.#sent(clientLeft());
    if (mustDrain) this.emit('drain');
  }

  get isGone() { return this.#isGone; }
}

/** What those are told who still write or wait; the code is the one that Node gives a stream that closes early. */
function clientLeft() {
  return Object.assign(new Error('the client has left'), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
}

/** What isn't text or bytes is written as JSON. */
function asBytes(chunk) {
  const isBytes = typeof chunk === 'string' || Buffer.isBuffer(chunk) || chunk?.constructor === Uint8Array;
  return isBytes || chunk == null ? chunk : JSON.stringify(chunk);
}

globalThis.awslambda = {
  streamifyResponse(handler, options) {
    handler[STREAMING] = 'response';
    if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
    return handler;
  },
  HttpResponseStream: {
    from(stream, metadata) {
      stream.setContentType(INTEGRATION_RESPONSE);
      const prelude = JSON.stringify(metadata);
      stream._onBeforeFirstWrite = (write) => {
        write(prelude);
        write(new Uint8Array(8));
      };
      return stream;
    },
  },
};
