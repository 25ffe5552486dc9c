//! Lambda functions: what it takes to invoke one, wherever it runs.
//!
//! A [`function::Function`] is a local process that is spoken to over the Lambda Runtime API (`local`), or a function
//! behind the Lambda Invoke API (`remote`): on AWS, or at any compatible endpoint. Both take an
//! [`invocation::Invocation`] and give its [`output::Output`] as it arrives; what the bytes mean is the caller's
//! business, since a REST API, a function URL and the Invoke API each read them differently.

pub mod body;
pub mod event_stream;
pub mod function;
pub mod invocation;
pub mod local;
pub mod metadata;
pub mod output;
pub mod prelude;
pub mod remote;
