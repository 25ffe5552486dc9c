// The side channel between a handler and its test: files.
import fs from 'node:fs';

const file = (name) => `${process.env.GATE}/${name}`;

/** Waits until the test has seen something. */
export async function seen(name) {
  while (!fs.existsSync(file(name))) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Tells the test something. */
export function note(name, text = '') {
  fs.writeFileSync(file(`${name}.part`), text);
  fs.renameSync(file(`${name}.part`), file(name));
}
