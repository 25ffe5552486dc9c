// Calls InvokeWithResponseStream with AWS's SDK, and tells each event on a line of its own:
// node sdk.mjs NODE_MODULES ENDPOINT FUNCTION PAYLOAD
import { createRequire } from "node:module";

const [modules, endpoint, name, payload] = process.argv.slice(2);
const { InvokeWithResponseStreamCommand, LambdaClient } = createRequire(`${modules}/`)("@aws-sdk/client-lambda");

const credentials = { accessKeyId: "any", secretAccessKey: "any" };
const client = new LambdaClient({ endpoint, region: "us-east-1", credentials, maxAttempts: 1 });
const answer = await client.send(new InvokeWithResponseStreamCommand({ FunctionName: name, Payload: payload }));
for await (const event of answer.EventStream) {
  const told = event.PayloadChunk
    ? { chunk: Buffer.from(event.PayloadChunk.Payload).toString() }
    : { complete: event.InvokeComplete };
  console.log(JSON.stringify(told));
}
