//! Sluicegate: a self-hosted streaming API gateway for the OpenAPI documents of Amazon API Gateway.
//!
//! The modules are floors: each uses only those below it (`docs/architecture.md`).

pub mod admin;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod guard;
pub mod integration;
pub mod lambda;
#[cfg(feature = "otel")]
pub mod otlp;
pub mod route;
pub mod server;
pub mod stream;
pub mod telemetry;
pub mod types;
pub mod upstream;
