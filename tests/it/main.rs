//! The gateway over real sockets: scripted clients on one side, scripted backends on the other.
//!
//! A test is a line of steps: what the client sends, what the backend sees and answers, what the client gets, what the
//! record says. Nothing asserts a duration; every wait ends after five seconds at the latest.

#![expect(unreachable_pub, reason = "a test binary has no public interface")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::large_stack_arrays,
    clippy::format_collect,
    clippy::too_many_lines,
    reason = "a test that is wrong about its world should stop at once"
)]

mod support;

mod aws_proxy;
mod backend_faults;
mod buffered;
mod clocks;
mod disconnect;
mod forwarding;
mod framing;
mod function_urls;
mod gateway_responses;
mod health_checks;
mod http2;
mod integrations;
mod invoke_api;
mod lambda_remote;
mod limits;
mod mapping;
mod mutual_tls;
mod observe;
mod paths;
mod shutdown;
mod streaming;
mod tls;
#[cfg(feature = "otel")]
mod tracing;
