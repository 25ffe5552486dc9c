//! A function on `lambda_runtime` that gives its event back, or fails if the event says so.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (event, context) = event.into_parts();
    if let Some(message) = event["fail"].as_str() {
        return Err(message.to_owned().into());
    }
    Ok(
        json!({ "event": event, "requestId": context.request_id, "arn": context.invoked_function_arn }),
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}
