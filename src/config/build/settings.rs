//! `sluicegate.yaml`'s own part of the model: listeners, logs, limits, and the list of APIs.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Overrides, access_log, api};
use crate::{
    config::{
        codes::Code,
        diagnostics::{Diagnostic, Diagnostics},
        document::{
            file::{Cursor, File},
            settings::{self as said, Settings, UnderscoreHeaders, UnknownServerName},
        },
        model::{
            AccessLog, Api, Domain, HealthCheck, Http, Listener, Model, Origin, Shutdown, Tls,
            VpcLink,
        },
        uri::parse_origin,
    },
    types::ids,
};

/// The address of a gateway that names none.
pub(super) const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";

/// Builds a model from settings.
pub(super) struct Builder<'a> {
    /// The settings' file; `None` for a bare definition.
    pub(super) file: Option<&'a File>,
    /// What paths are relative to.
    pub(super) base: PathBuf,
    /// What the file says.
    pub(super) settings: &'a Settings,
    /// What the environment says.
    pub(super) overrides: &'a Overrides,
    /// What is found wrong.
    pub(super) diagnostics: &'a mut Diagnostics,
}

impl Builder<'_> {
    /// Builds everything; `definition` is the document of the only API, if the configuration is a bare one.
    pub(super) fn build(mut self, definition: Option<&File>) -> Model {
        let settings = self.settings;
        let listeners = self.listeners();
        let admin = settings
            .admin
            .as_ref()
            .and_then(|admin| self.address(&admin.address, "/admin/address"));
        let vpc_links = self.vpc_links();
        let access_log = self.access_log(settings.access_log.as_ref(), "/accessLog");
        let apis = self.apis(definition, &vpc_links);
        if settings.apis.is_empty() {
            self.error(
                Code::E012,
                "/apis",
                "the configuration has no API to serve",
                "list one under `apis:` with its `definition:`",
            );
        }
        let instance_id = settings
            .instance_id
            .clone()
            .unwrap_or_else(|| format!("sluicegate-{:08x}", ids::random() as u32));
        Model {
            listeners,
            admin,
            workers: self
                .overrides
                .workers
                .or(settings.workers.map(|count| count as usize)),
            apis,
            vpc_links,
            access_log: access_log.unwrap_or_else(access_log::standard),
            http: http(&settings.http),
            shutdown: shutdown(&settings.shutdown),
            instance_id: instance_id.into(),
        }
    }

    fn cursor(&self, pointer: &str) -> Option<Cursor<'_>> {
        let file = self.file?;
        let value = file.root.pointer(pointer).unwrap_or(&file.root);
        Some(Cursor {
            file,
            value,
            pointer: pointer.to_owned(),
        })
    }

    fn error(&mut self, code: Code, pointer: &str, message: impl Into<String>, hint: &str) {
        let finding = match self.cursor(pointer) {
            Some(cursor) => cursor.report(code, message),
            None => Diagnostic::new(code, &"<environment>".into(), message),
        };
        self.diagnostics.push(finding.hint(hint));
    }

    fn address(&mut self, text: &str, pointer: &str) -> Option<SocketAddr> {
        // `localhost:8080` is worth understanding; other names would be resolved once and never again.
        let named = text
            .strip_prefix("localhost:")
            .map(|port| format!("127.0.0.1:{port}"));
        let text = named.as_deref().unwrap_or(text);
        let found = text.parse().ok().or_else(|| {
            let bare_port = text.strip_prefix(':')?.parse::<u16>().ok()?;
            ("0.0.0.0", bare_port).to_socket_addrs().ok()?.next()
        });
        if found.is_none() {
            let message = format!("`{text}` isn't an address with a port");
            self.error(
                Code::E015,
                pointer,
                message,
                "write it like `127.0.0.1:8080`, `0.0.0.0:8080` or `[::]:8080`",
            );
        }
        found
    }

    fn listeners(&mut self) -> Vec<Listener> {
        let mut said: Vec<(&str, Option<&said::Tls>, bool)> = self
            .settings
            .listeners
            .iter()
            .map(|it| (it.address.as_str(), it.tls.as_ref(), it.h2c))
            .collect();
        if said.is_empty() {
            said.push((DEFAULT_ADDRESS, None, false));
        }
        let overrides = self.overrides;
        if let (Some(listen), Some(first)) = (&overrides.listen, said.first_mut()) {
            first.0 = listen;
        }
        let mut seen = HashSet::new();
        let mut listeners = Vec::new();
        for (at, (address, tls, h2c)) in said.into_iter().enumerate() {
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
                self.error(
                    Code::E016,
                    &pointer,
                    format!("two listeners have the address `{address}`"),
                    "give each its own",
                );
            }
            let tls = tls.map(|tls| self.tls(tls, at));
            listeners.push(Listener { address, tls, h2c });
        }
        listeners
    }

    fn tls(&mut self, tls: &said::Tls, at: usize) -> Tls {
        let pointer = format!("/listeners/{at}/tls/certificates");
        if tls.certificates.is_empty() {
            self.error(
                Code::E012,
                &pointer,
                "TLS needs at least one certificate",
                "add `certificate:` and `privateKey:` files",
            );
        }
        let certificates = tls.certificates.iter().enumerate().map(|(index, pair)| {
            let paths = (
                self.base.join(&pair.certificate),
                self.base.join(&pair.private_key),
            );
            for (key, path) in [("certificate", &paths.0), ("privateKey", &paths.1)] {
                self.check_readable(path, &format!("{pointer}/{index}/{key}"));
            }
            paths
        });
        Tls {
            certificates: certificates.collect(),
            refuse_unknown_names: tls.unknown_server_name == UnknownServerName::Refuse,
        }
    }

    fn check_readable(&mut self, path: &Path, pointer: &str) {
        if let Err(error) = std::fs::File::open(path) {
            let message = format!("can't read `{}`: {error}", path.display());
            self.error(
                Code::E017,
                pointer,
                message,
                "paths are relative to the configuration file",
            );
        }
    }

    fn vpc_links(&mut self) -> BTreeMap<String, VpcLink> {
        let mut links = BTreeMap::new();
        for (id, link) in &self.settings.vpc_links {
            let pointer = format!("/vpcLinks/{id}/targets");
            if link.targets.is_empty() {
                self.error(
                    Code::E012,
                    &pointer,
                    format!("the VPC link `{id}` has no targets"),
                    "list at least one URL",
                );
            }
            let mut targets: Vec<Origin> = Vec::new();
            for (at, url) in link.targets.iter().enumerate() {
                match parse_origin(url) {
                    Ok(origin) => targets.push(origin),
                    Err(_) => {
                        let message = format!("`{url}` isn't the URL of a target");
                        self.error(
                            Code::E015,
                            &format!("{pointer}/{at}"),
                            message,
                            "write it like `http://10.0.0.7:8080`",
                        );
                    }
                }
            }
            let health_check = link.health_check.as_ref().map(|check| HealthCheck {
                path: check.path.clone(),
                interval: millis(check.interval_in_millis, 10_000),
                timeout: millis(check.timeout_in_millis, 2000),
            });
            links.insert(
                id.clone(),
                VpcLink {
                    targets,
                    health_check,
                },
            );
        }
        links
    }

    fn access_log(&mut self, said: Option<&said::AccessLog>, pointer: &str) -> Option<AccessLog> {
        let at = self.file.map(|file| Cursor {
            file,
            value: &file.root,
            pointer: format!("{pointer}/format"),
        });
        Some(access_log::build(
            said?,
            &self.base,
            at.as_ref(),
            self.diagnostics,
        ))
    }

    fn apis(
        &mut self,
        definition: Option<&File>,
        vpc_links: &BTreeMap<String, VpcLink>,
    ) -> Vec<Api> {
        let mut apis = Vec::new();
        for (at, said) in self.settings.apis.iter().enumerate() {
            let access_log =
                self.access_log(said.access_log.as_ref(), &format!("/apis/{at}/accessLog"));
            let read = match definition {
                Some(_) => None,
                None => match File::read(&self.base.join(&said.definition), self.diagnostics) {
                    Some(file) => Some(file),
                    None => continue,
                },
            };
            let Some(file) = definition.or(read.as_ref()) else {
                continue;
            };
            let source = api::Source {
                file,
                said,
                gateway: &self.settings.defaults,
                vpc_links,
            };
            if let Some(api) = api::build(&source, self.diagnostics) {
                apis.push(Api { access_log, ..api });
            }
        }
        self.check_places(&apis);
        apis
    }

    /// No two APIs may claim the same host and base path.
    fn check_places(&mut self, apis: &[Api]) {
        let mut places: HashMap<(Option<&Domain>, &str), usize> = HashMap::new();
        for (at, api) in apis.iter().enumerate() {
            let domains: Vec<Option<&Domain>> = if api.domains.is_empty() {
                vec![None]
            } else {
                api.domains.iter().map(Some).collect()
            };
            for domain in domains {
                if let Some(first) = places.insert((domain, &api.site.base_path), at) {
                    let host =
                        domain.map_or("any host".to_owned(), |domain| format!("`{}`", domain.name));
                    let path = if api.site.base_path.is_empty() {
                        "/"
                    } else {
                        &api.site.base_path
                    };
                    let message = format!(
                        "APIs {} and {} are both mounted on {host} at `{path}`",
                        first + 1,
                        at + 1
                    );
                    self.error(
                        Code::E016,
                        &format!("/apis/{at}"),
                        message,
                        "give one of them its own `domains` or `basePath`",
                    );
                }
            }
        }
    }
}

pub(super) fn millis(said: Option<u64>, default: u64) -> Duration {
    Duration::from_millis(said.unwrap_or(default))
}

fn http(said: &said::Http) -> Http {
    Http {
        request_line: said.request_line_bytes.unwrap_or(8192) as usize,
        header: said.header_bytes.unwrap_or(10_240) as usize,
        first_byte: millis(said.first_byte_timeout_in_millis, 10_000),
        head: millis(said.head_timeout_in_millis, 10_000),
        keep_alive: millis(said.keep_alive_timeout_in_millis, 310_000),
        max_connections: said.max_connections.map(|count| count as usize),
        pass_underscores: said.underscore_headers == Some(UnderscoreHeaders::Pass),
    }
}

fn shutdown(said: &said::Shutdown) -> Shutdown {
    Shutdown {
        pre_stop_delay: millis(said.pre_stop_delay_in_millis, 5000),
        drain_timeout: millis(said.drain_timeout_in_millis, 930_000),
    }
}
