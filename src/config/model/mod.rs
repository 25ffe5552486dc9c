//! What the configuration means: validated, resolved, with every default filled in. The pipeline sees only this.

mod api;
mod function;
mod gateway;

pub use api::*;
pub use function::*;
pub use gateway::*;
