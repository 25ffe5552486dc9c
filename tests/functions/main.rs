//! Local functions with scripted runtimes: processes, sockets and clocks are real.
//!
//! A test says what the runtime does, what its caller does, and what both see of it. Nothing asserts how long something
//! took; every wait ends after twenty seconds at the latest.

#![cfg(unix)]
#![expect(unreachable_pub, reason = "a test binary has no public interface")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    reason = "a test that is wrong about its world should stop at once"
)]

mod support;

mod cancel;
mod environments;
mod faults;
mod logs;
mod runtime_api;
mod starting;
mod streaming;
