//! Bodies on their way: framing, the shaper, the clocks of an exchange, the streamed body and the buffered one.
//!
//! Everything here takes its time and its bytes from outside; only [`arena`] reads, from whatever it is given.

pub mod arena;
pub mod clocks;
pub mod collect;
pub mod framing;
pub mod outbox;
pub mod request_body;
pub mod shaper;
pub mod source;
pub mod streamed;
pub mod timer;
pub mod unattended;
pub mod watchdog;
