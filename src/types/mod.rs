//! The words everything else is written in: heads and fields, faults and outcomes, ids, times, the request's context.
//!
//! The lowest floor: nothing here opens a socket, reads a file or knows a configuration.

pub mod certificate;
pub mod clock;
pub mod context;
pub mod crypto;
pub mod escape;
pub mod fault;
pub mod fields;
pub mod head;
pub mod ids;
pub mod known;
pub mod lifecycle;
pub mod memory;
pub mod outcome;
pub mod peer;
pub mod reload;
pub mod site;
pub mod target;
pub mod template;
pub mod trace;
pub mod variable;
