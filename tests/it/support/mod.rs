//! Gateways, backends and clients for tests.

mod authority;
mod backend;
mod client;
mod gateway;

use std::{future::Future, time::Duration};

pub use authority::{Issuer, authority, revoking};
pub use backend::{Backend, Conn};
pub use client::{Client, End};
pub use gateway::{Gateway, document, proxy};
use sluicegate::telemetry::metrics::{self, page::Page};

/// Waits for what must happen, but not for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(Duration::from_secs(5), future).await;
    output.expect("it should happen within five seconds")
}

/// How many handshakes have failed for a reason, over all gateways of this process.
pub fn failed_handshakes(reason: &str) -> u64 {
    let mut page = Page::default();
    metrics::write(&mut page);
    let series = format!("sluicegate_handshakes_failed_total{{reason=\"{reason}\"}} ");
    let text = page.into_text();
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value.expect("every reason has a series").parse().unwrap()
}

/// Waits until there is one more than `before`: a client may know of its failure earlier than the metrics.
pub async fn one_more_has_failed(reason: &str, before: u64) {
    for _ in 0..250 {
        if failed_handshakes(reason) > before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no handshake has failed for the reason `{reason}`");
}

/// The value of a header in the text of a head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    headers(head, name).next()
}

/// All values of a header in the text of a head.
pub fn headers<'a>(head: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let name = name.to_ascii_lowercase();
    let fields = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    fields
        .filter(move |(key, _)| key.to_ascii_lowercase() == name)
        .map(|(_, value)| value)
}

/// The status in the text of a head.
pub fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status in {head:?}"))
}
