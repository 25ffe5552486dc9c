//! Where the gateway takes requests.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{settings::Builder, tls, truststore};
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostic,
        document::settings::{self as said, SecurityPolicy, UnknownServerName},
        model::{Certificate, Listener, MutualTls, Tls},
    },
    types::{
        clock::{Wall, day},
        peer::Serves,
    },
};

/// The address of a gateway that names none.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";

impl Builder<'_> {
    /// The addresses that take requests.
    pub(super) fn listeners(&mut self) -> Vec<Listener> {
        let settings = self.settings;
        let unsaid = said::Listener::default();
        let mut said: Vec<(&str, &said::Listener)> = settings
            .listeners
            .iter()
            .map(|it| (it.address.as_str(), it))
            .collect();
        if said.is_empty() {
            said.push((DEFAULT_ADDRESS, &unsaid));
        }
        let overrides = self.overrides;
        if let (Some(listen), Some(first)) = (&overrides.listen, said.first_mut()) {
            if parse_address(listen).is_none() {
                let message = format!("`{listen}` isn't an IP address with a port");
                let finding =
                    Diagnostic::new(Code::E015, &"--listen or SLUICEGATE_LISTEN".into(), message);
                self.diagnostics.push(finding.hint(address_hint(listen)));
                return Vec::new();
            }
            first.0 = listen;
        }
        let mut seen = HashSet::new();
        let mut listeners = Vec::new();
        for (at, (address, said)) in said.into_iter().enumerate() {
            let pointer = format!("/listeners/{at}/address");
            let address = if address.is_empty() {
                DEFAULT_ADDRESS
            } else {
                address
            };
            let Some(address) = self.address(address, &pointer) else {
                continue;
            };
            if !seen.insert(address) && address.port() != 0 {
                let message = format!("two listeners have the address `{address}`");
                self.error(Code::E016, &pointer, message, "give each its own");
            }
            let tls = said.tls.as_ref().map(|tls| self.tls(tls, at));
            let serves = self.serves(address, said);
            listeners.push(Listener {
                address,
                tls,
                h2c: said.h2c,
                proxy_protocol: said.proxy_protocol,
                serves,
            });
        }
        listeners.extend(self.lambda_listener(&seen));
        listeners
    }

    /// Functions have no guard before them, so that what others can reach doesn't serve them unasked. They also reach what
    /// only listens on this machine if a proxy stands before it, and some settings make no sense without one.
    fn serves(&self, address: SocketAddr, listener: &said::Listener) -> Serves {
        let settings = self.settings;
        let said = settings.lambda.on_listeners;
        let has_functions = !settings.functions.is_empty();
        let has_proxy = listener.proxy_protocol || settings.http.trusted_hops.unwrap_or(0) > 0;
        let is_private = address.ip().is_loopback() && !has_proxy;
        if has_functions && said.unwrap_or(is_private) {
            Serves::Both
        } else {
            Serves::Apis
        }
    }

    /// The address that serves functions only.
    fn lambda_listener(&mut self, taken: &HashSet<SocketAddr>) -> Option<Listener> {
        const POINTER: &str = "/lambda/address";
        let settings = self.settings;
        let address = self.address(settings.lambda.address.as_ref()?, POINTER)?;
        if address.port() != 0 && taken.contains(&address) {
            let message = format!("the functions' address `{address}` is a listener's, too");
            self.error(Code::E016, POINTER, message, "give it another port");
        }
        Some(Listener {
            address,
            tls: None,
            h2c: false,
            proxy_protocol: false,
            serves: Serves::Functions,
        })
    }

    /// The operator's address.
    pub(super) fn admin(&mut self, listeners: &[SocketAddr]) -> Option<SocketAddr> {
        const POINTER: &str = "/admin/address";
        let settings = self.settings;
        let address = match &settings.admin {
            Some(admin) => self.address(&admin.address, POINTER)?,
            None => self.admin_of_environment()?,
        };
        if address.port() != 0 && listeners.contains(&address) {
            let message = format!("the operator's address `{address}` is a listener's, too");
            self.error(Code::E016, POINTER, message, "give it another port");
        }
        Some(address)
    }

    /// The address where `sluicegate top` and `sluicegate health` look, too; they may be told a URL.
    fn admin_of_environment(&mut self) -> Option<SocketAddr> {
        let said = self.overrides.admin.as_deref()?;
        let address = said
            .strip_prefix("http://")
            .unwrap_or(said)
            .trim_end_matches('/');
        let found = parse_address(address);
        if found.is_none() {
            let message = format!("`{said}` isn't an IP address with a port");
            let finding = Diagnostic::new(Code::E015, &"SLUICEGATE_ADMIN".into(), message);
            self.diagnostics.push(finding.hint(address_hint(address)));
        }
        found
    }

    fn address(&mut self, text: &str, pointer: &str) -> Option<SocketAddr> {
        let found = parse_address(text);
        if found.is_none() {
            let message = format!("`{text}` isn't an IP address with a port");
            self.error(Code::E015, pointer, message, &address_hint(text));
        }
        found
    }

    fn tls(&mut self, tls: &said::Tls, at: usize) -> Tls {
        let pointer = format!("/listeners/{at}/tls/certificates");
        if tls.certificates.is_empty() {
            let hint = "add `certificate:` and `privateKey:` files";
            self.error(
                Code::E012,
                &pointer,
                "TLS needs at least one certificate",
                hint,
            );
        }
        let mut certificates = Vec::new();
        for (index, pair) in tls.certificates.iter().enumerate() {
            let (chain, key) = (
                self.base.join(&pair.certificate),
                self.base.join(&pair.private_key),
            );
            self.diagnostics.read_from(&chain);
            self.diagnostics.read_from(&key);
            match tls::load(&chain, &key) {
                Ok(certificate) => {
                    let pointer = format!("{pointer}/{index}/certificate");
                    self.check_time(&pointer, &pair.certificate, &certificate.valid);
                    certificates.push(certificate);
                }
                Err(faults) => {
                    for fault in faults {
                        let pointer = format!("{pointer}/{index}/{}", fault.key);
                        self.error(Code::E017, &pointer, fault.message, fault.hint);
                    }
                }
            }
        }
        let mutual = tls.mutual_tls_authentication.as_ref();
        Tls {
            certificates,
            refuse_unknown_names: tls.unknown_server_name == UnknownServerName::Refuse,
            only_tls13: tls.security_policy == SecurityPolicy::Tls13,
            mutual: mutual.and_then(|said| self.mutual(said, at)),
        }
    }

    /// A certificate out of its time can be served, but whoever checks it refuses it.
    fn check_time(&mut self, pointer: &str, file: &str, valid: &RangeInclusive<i64>) {
        let now = Wall::now().seconds().cast_signed();
        if valid.contains(&now) {
            return;
        }
        let (word, at) = if now > *valid.end() {
            ("expired on", *valid.end())
        } else {
            ("isn't valid before", *valid.start())
        };
        let message = format!("the certificate `{file}` {word} {}", day(at));
        self.error(
            Code::W126,
            pointer,
            message,
            "renew it; those who check it refuse the connection",
        );
    }

    fn mutual(&mut self, said: &said::MutualTls, at: usize) -> Option<MutualTls> {
        let pointer = format!("/listeners/{at}/tls/mutualTlsAuthentication");
        let truststore = self.base.join(&said.truststore);
        let lists = said.certificate_revocation_lists.iter();
        let lists: Vec<PathBuf> = lists.map(|path| self.base.join(path)).collect();
        for path in std::iter::once(&truststore).chain(&lists) {
            self.diagnostics.read_from(path);
        }
        let read = match truststore::read(&truststore, &lists) {
            Ok(read) => read,
            Err(faults) => {
                for fault in faults {
                    let pointer = format!("{pointer}/{}", fault.key);
                    self.error(Code::E017, &pointer, fault.message, fault.hint);
                }
                return None;
            }
        };
        for (number, (list, end)) in lists.iter().zip(read.next_updates).enumerate() {
            let pointer = format!("{pointer}/certificateRevocationLists/{number}");
            self.check_list(&pointer, list, end);
        }
        Some(MutualTls {
            truststore,
            revocation_lists: lists,
            contents: read.contents,
            verifier: read.verifier,
        })
    }

    /// A list out of its time goes on being used, without what was revoked since.
    fn check_list(&mut self, pointer: &str, file: &Path, end: Option<i64>) {
        let now = Wall::now().seconds().cast_signed();
        if let Some(end) = end.filter(|end| *end < now) {
            let message = format!(
                "the revocation list `{}` should have been replaced on {}",
                file.display(),
                day(end)
            );
            let hint = "get the next one from the authority; what it has revoked since is accepted";
            self.error(Code::W126, pointer, message, hint);
        }
    }

    /// The certificate of an API towards its backends.
    pub(super) fn client_certificate(
        &mut self,
        said: &said::Certificate,
        at: usize,
    ) -> Option<Certificate> {
        let (chain, key) = (
            self.base.join(&said.certificate),
            self.base.join(&said.private_key),
        );
        self.diagnostics.read_from(&chain);
        self.diagnostics.read_from(&key);
        match tls::load(&chain, &key) {
            Ok(certificate) => {
                let pointer = format!("/apis/{at}/clientCertificate/certificate");
                self.check_time(&pointer, &said.certificate, &certificate.valid);
                Some(certificate)
            }
            Err(faults) => {
                for fault in faults {
                    let pointer = format!("/apis/{at}/clientCertificate/{}", fault.key);
                    self.error(Code::E017, &pointer, fault.message, fault.hint);
                }
                None
            }
        }
    }
}

fn parse_address(text: &str) -> Option<SocketAddr> {
    // `localhost:8080` is worth understanding; other names would be resolved once and never again.
    let port = |text: &str| text.parse::<u16>().ok();
    if let Some(rest) = text.strip_prefix("localhost:") {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port(rest)?)));
    }
    if let Some(rest) = text.strip_prefix(':') {
        return Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port(rest)?)));
    }
    text.parse().ok()
}

fn address_hint(text: &str) -> String {
    if text.parse::<u16>().is_ok() {
        format!(
            "write it like `127.0.0.1:{text}`, or `0.0.0.0:{text}` to be reached from elsewhere"
        )
    } else {
        "write it like `127.0.0.1:8080`, `0.0.0.0:8080` or `[::]:8080`".to_owned()
    }
}
