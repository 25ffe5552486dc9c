//! What the gateway tells: one record per request, why requests fail, counts, spans, live streams, and the program's own
//! log.

pub mod execution;
pub mod live;
pub mod log;
pub mod metrics;
mod output;
pub mod record;
pub mod seldom;
pub mod span;
#[cfg(test)]
mod testing;
pub mod tracer;
pub mod writer;
