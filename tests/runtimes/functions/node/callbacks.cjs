'use strict';
// Handlers from before there were promises.
const fs = require('node:fs');

exports.callback = (event, context, callback) => {
  setTimeout(() => callback(null, { got: event }), 1);
};

exports.callbackError = (event, context, callback) => callback(new RangeError('by callback'));

exports.callbackText = (event, context, callback) => callback('just text');

exports.waits = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = event.waits;
  setTimeout(() => fs.writeFileSync(`${process.env.GATE}/later`, ''), 200);
  callback(null, 'at once');
};

exports.done = (event, context) => context.done(null, 'done');
exports.succeed = (event, context) => context.succeed('succeeded');
exports.fail = (event, context) => context.fail(new Error('failed'));
exports.twice = (event, context, callback) => {
  callback(null, 1);
  callback(null, 2);
  context.succeed(3);
};
exports.silent = () => {};
exports.thenable = () => ({ then: (resolve) => resolve('thenable') });
exports.circular = async () => {
  const ring = {};
  ring.ring = ring;
  return ring;
};
exports.throwsText = async () => {
  throw 'text';
};
exports.throwsLater = (event, context, callback) => {
  setTimeout(() => {
    throw new Error('nobody catches');
  }, 1);
};
exports.rejectsLater = async () => {
  setTimeout(() => Promise.reject(new Error('nobody catches')), 1);
  await new Promise((resolve) => setTimeout(resolve, 10_000));
};
exports.exits = async () => process.exit(7);
exports.between = async () => {
  setTimeout(() => {
    throw new Error('nobody asked');
  }, 50);
};
exports.prints = async () => {
  console.log('to stdout %d', 1);
  console.error('to stderr');
};
exports.patched = async () => {
  require('node:http').request = () => {
    throw new Error('patched');
  };
};
