//! Connections that came to nothing before HTTP began: in TLS, or in the PROXY protocol.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    add, free_or_new, locked,
    page::{Kind, Page},
};

/// Why a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client has no certificate where one is needed.
    CertificateMissing,
    /// Its certificate is of an issuer that the truststore doesn't know.
    CertificateUnknownIssuer,
    /// Its certificate has expired, or isn't valid yet.
    CertificateExpired,
    /// Its certificate was revoked.
    CertificateRevoked,
    /// Its certificate can't be used for something else, or its chain is too long.
    CertificateInvalid,
    /// The client didn't say a name, or one that no certificate is for, where those are refused.
    UnknownServerName,
    /// There is no version, cipher or protocol that both sides know.
    Incompatible,
    /// The client sent an alert: it doesn't trust the gateway's certificate, say.
    ClientRefused,
    /// It isn't TLS, but plain HTTP, say.
    NotTls,
    /// The PROXY protocol's header is missing or malformed.
    ProxyHeader,
    /// It took too long.
    Timeout,
    /// The client closed the connection in the middle of it, or without a word.
    ClientLeft,
    /// Anything else.
    Other,
}

impl Reason {
    /// All there are, in the order of the enumeration.
    pub const ALL: [Reason; 13] = [
        Reason::CertificateMissing,
        Reason::CertificateUnknownIssuer,
        Reason::CertificateExpired,
        Reason::CertificateRevoked,
        Reason::CertificateInvalid,
        Reason::UnknownServerName,
        Reason::Incompatible,
        Reason::ClientRefused,
        Reason::NotTls,
        Reason::ProxyHeader,
        Reason::Timeout,
        Reason::ClientLeft,
        Reason::Other,
    ];

    /// As the label and the log have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::CertificateMissing => "certificate_missing",
            Reason::CertificateUnknownIssuer => "certificate_unknown_issuer",
            Reason::CertificateExpired => "certificate_expired",
            Reason::CertificateRevoked => "certificate_revoked",
            Reason::CertificateInvalid => "certificate_invalid",
            Reason::UnknownServerName => "unknown_server_name",
            Reason::Incompatible => "incompatible",
            Reason::ClientRefused => "client_refused",
            Reason::NotTls => "not_tls",
            Reason::ProxyHeader => "proxy_header",
            Reason::Timeout => "timeout",
            Reason::ClientLeft => "client_left",
            Reason::Other => "other",
        }
    }
}

/// Failures by their reason, as far as one thread has counted them.
#[derive(Debug, Default)]
struct Failures([AtomicU64; Reason::ALL.len()]);

static FAILURES: Mutex<Vec<Arc<Failures>>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: Arc<Failures> = free_or_new(&mut locked(&FAILURES));
}

/// Counts a connection that failed.
pub fn failed(reason: Reason) {
    // A thread that ends has no more of its own; then there is nothing left to serve, either.
    let _ = OWN.try_with(|own| {
        own.0
            .get(reason as usize)
            .inspect(|count| add(count, 1))
            .is_some()
    });
}

pub(super) fn write(page: &mut Page) {
    let threads = locked(&FAILURES).clone();
    let help =
        "Client connections that failed in TLS or the PROXY protocol, before their first request.";
    page.family("sluicegate_handshakes_failed_total", Kind::Counter, help);
    for reason in Reason::ALL {
        let counts = threads.iter().filter_map(|own| own.0.get(reason as usize));
        let count = counts.map(|count| count.load(Relaxed)).sum();
        page.value(&[("reason", reason.as_str())], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_a_series_from_the_start_and_threads_are_added_up() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
        failed(Reason::Other);
        std::thread::spawn(|| failed(Reason::Other)).join().unwrap();
        let mut page = Page::default();
        write(&mut page);
        let text = page.into_text();
        for reason in Reason::ALL {
            let count = if reason == Reason::Other { 2 } else { 0 };
            let reason = reason.as_str();
            let line =
                format!("sluicegate_handshakes_failed_total{{reason=\"{reason}\"}} {count}\n");
            assert!(text.contains(&line), "{line} isn't in\n{text}");
        }
    }
}
