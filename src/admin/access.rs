//! Who may ask for what.
//!
//! A browser can be made to call this address: by a page of another site (it then says so in `Origin`), or under a name
//! that its owner lets point here (then `Host` is that name). Names of machines are therefore taken only for what machines
//! ask for by name and nobody minds: health and metrics.

use std::net::SocketAddr;

use http::{HeaderMap, Method, StatusCode, header, request::Parts};

use super::answer::Answer;
use crate::types::target::is_direct;

/// Refuses what a client may not do.
pub(super) fn check(parts: &Parts, client: SocketAddr) -> Result<(), Answer> {
    let refuse = |why: &'static str| Err(Answer::text(StatusCode::FORBIDDEN, why));
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    if is_read && matches!(parts.uri.path(), "/healthz" | "/readyz" | "/metrics") {
        return Ok(());
    }
    if !is_addressed_directly(&parts.headers) {
        return refuse("use this machine's IP address or `localhost`, not another name\n");
    }
    if is_read {
        return Ok(());
    }
    if parts.headers.contains_key(header::ORIGIN) {
        return refuse("not for web pages\n");
    }
    if !client.ip().to_canonical().is_loopback() {
        return refuse("only for clients on this machine\n");
    }
    Ok(())
}

/// Whether `Host` is no name that somebody else could have pointed here.
fn is_addressed_directly(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    host.to_str().is_ok_and(is_direct)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(request: &str, fields: &[(&str, &str)], client: &str) -> bool {
        let (method, path) = request.split_once(' ').unwrap();
        let mut builder = http::Request::builder().method(method).uri(path);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let parts = builder.body(()).unwrap().into_parts().0;
        check(&parts, client.parse().unwrap()).is_err()
    }

    #[test]
    fn names_that_could_be_anybodys_see_only_health_and_metrics() {
        for (host, is_name) in [
            ("127.0.0.1:9901", false),
            ("[::1]:9901", false),
            ("localhost:9901", false),
            ("LOCALHOST", false),
            ("10.0.0.7", false),
            ("rebound.example:9901", true),
            ("localhost.example", true),
            ("", true),
        ] {
            let client = "10.9.9.9:5";
            assert_eq!(
                is_refused("GET /config", &[("host", host)], client),
                is_name,
                "{host}"
            );
            assert!(!is_refused("GET /metrics", &[("host", host)], client));
            assert!(!is_refused("GET /healthz", &[("host", host)], client));
        }
    }

    #[test]
    fn only_this_machine_changes_anything_and_no_web_page_does() {
        let host = ("host", "127.0.0.1:9901");
        let origin = ("origin", "http://127.0.0.1:9901");
        for request in ["POST /drain", "DELETE /streams/1", "PUT /log-level"] {
            assert!(!is_refused(request, &[host], "127.0.0.1:5"));
            assert!(!is_refused(request, &[host], "[::ffff:127.0.0.1]:5"));
            assert!(is_refused(request, &[host], "10.0.0.7:5"));
            assert!(is_refused(request, &[host, origin], "127.0.0.1:5"));
            assert!(is_refused(
                request,
                &[("host", "rebound.example")],
                "127.0.0.1:5"
            ));
        }
        assert!(is_refused("POST /metrics", &[host], "10.0.0.7:5"));
    }
}
