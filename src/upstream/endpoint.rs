//! An endpoint: one place that connections go to, and so one pool.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use super::tls::ClientTls;

/// Host, port and how to speak there.
#[derive(Debug)]
pub struct Endpoint {
    /// The same for all endpoints that are the same place, and for no other; pools are found by it, so that a
    /// configuration that was loaded anew finds the connections of the one before.
    pub id: u64,
    /// A name, or an address (IPv6 without brackets).
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// TLS, for `https`.
    pub tls: Option<Arc<ClientTls>>,
    /// Keeps the id from being forgotten.
    _id: Arc<u64>,
}

/// What makes two endpoints the same: host, port and TLS.
type Place = (Box<str>, u16, Option<Arc<ClientTls>>);

/// The ids in use, and the next one.
type Ids = (HashMap<Place, Weak<u64>>, u64);

/// The id of a place: the one it has, or a new one.
fn id_of(place: Place) -> Arc<u64> {
    static IDS: LazyLock<Mutex<Ids>> = LazyLock::new(Mutex::default);
    let mut ids = IDS.lock().unwrap_or_else(PoisonError::into_inner);
    let (by_place, next) = &mut *ids;
    if let Some(id) = by_place.get(&place).and_then(Weak::upgrade) {
        return id;
    }
    by_place.retain(|_, id| id.strong_count() > 0);
    let id = Arc::new(*next);
    *next += 1;
    by_place.insert(place, Arc::downgrade(&id));
    id
}

impl Endpoint {
    /// An endpoint, with the id of its place.
    pub fn new(host: &str, port: u16, tls: Option<Arc<ClientTls>>) -> Endpoint {
        let id = id_of((host.into(), port, tls.clone()));
        Endpoint {
            id: *id,
            host: host.into(),
            port,
            tls,
            _id: id,
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        write!(
            f,
            "{}://{open}{}{close}:{}",
            self.scheme(),
            self.host,
            self.port
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_keeps_its_id_and_another_gets_its_own() {
        let tls = |insecure| Some(Arc::new(ClientTls::new(insecure, None, None)));
        let first = Endpoint::new("same.example", 443, tls(false));
        let again = Endpoint::new("same.example", 443, tls(false));
        assert_eq!(first.id, again.id);
        for other in [
            Endpoint::new("same.example", 443, tls(true)),
            Endpoint::new("same.example", 443, None),
            Endpoint::new("same.example", 444, tls(false)),
            Endpoint::new("other.example", 443, tls(false)),
        ] {
            assert_ne!(first.id, other.id, "{other}");
        }
    }

    #[test]
    fn the_id_of_a_place_that_nobody_uses_is_never_given_again() {
        let gone = Endpoint::new("gone.example", 80, None).id;
        assert_ne!(Endpoint::new("gone.example", 80, None).id, gone);
    }
}
