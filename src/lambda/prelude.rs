//! The metadata before a streamed payload.
