//! Gateways, backends and clients for tests.

mod backend;
mod client;
mod gateway;

use std::{future::Future, time::Duration};

pub use backend::{Backend, Conn};
pub use client::{Client, End};
pub use gateway::{Gateway, document, proxy};

/// Waits for what must happen, but not for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(Duration::from_secs(5), future).await;
    output.expect("it should happen within five seconds")
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
