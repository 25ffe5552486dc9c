//! Who may call a method.
//!
//! Until a check is enforced, a method that asks for it is refused: it fails closed.

use crate::types::fault::{Fault, FaultKind};

/// Lets a request in, or says why not. `unenforced` are the checks its method asks for that can't be made.
pub fn admit(unenforced: &[String]) -> Result<(), Fault> {
    if unenforced.is_empty() {
        return Ok(());
    }
    let checks = unenforced.join(" and ");
    let detail =
        format!("the method asks for {checks}, which isn't enforced yet, so nobody is let in");
    Err(Fault::new(FaultKind::NotEnforced, detail))
}
