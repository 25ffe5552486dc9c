//! `sluicegate.yaml`'s own part of the model: logs, limits, and the list of APIs.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::LazyLock, time::Duration};

use super::{Overrides, access_log, api};
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::{
            file::{Cursor, File},
            settings::{self as said, Settings, UnderscoreHeaders},
        },
        model::{AccessLog, Api, Http, LambdaFront, Model, Shutdown, VpcLink},
    },
    types::{fields::is_token, ids},
};

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

/// What all APIs are built with.
struct Common<'a> {
    listeners: &'a [SocketAddr],
    vpc_links: &'a BTreeMap<String, VpcLink>,
    functions: &'a BTreeMap<Box<str>, bool>,
    lambda: &'a LambdaFront,
}

impl Builder<'_> {
    /// Builds everything; `definition` is the document of the only API, if the configuration is a bare one.
    pub(super) fn build(mut self, definition: Option<&File>) -> Model {
        let settings = self.settings;
        let listeners = self.listeners();
        let addresses: Vec<SocketAddr> =
            listeners.iter().map(|listener| listener.address).collect();
        let admin = self.admin(&addresses);
        let vpc_links = self.vpc_links();
        let access_log = self.access_log(settings.access_log.as_ref(), "/accessLog");
        let lambda = self.lambda_front();
        let functions = self.functions(&lambda);
        let shared = Common {
            listeners: &addresses,
            vpc_links: &vpc_links,
            functions: &functions
                .iter()
                .map(|(name, function)| (name.clone(), function.is_local()))
                .collect(),
            lambda: &lambda,
        };
        let apis = self.apis(definition, &shared);
        let instance_id = self.instance_id();
        let tracing = self.tracing(&instance_id);
        Model {
            listeners,
            admin,
            workers: self
                .overrides
                .workers
                .or(settings.workers.map(|count| count as usize)),
            memory_limit: settings.memory_limit_bytes.map(|limit| limit.0),
            watch: self.overrides.watch || settings.watch,
            apis,
            functions,
            lambda,
            vpc_links,
            access_log: access_log.unwrap_or_else(access_log::standard),
            tracing,
            http: http(&settings.http),
            shutdown: shutdown(&settings.shutdown),
            instance_id,
        }
    }

    fn instance_id(&mut self) -> Box<str> {
        let Some(said) = &self.settings.instance_id else {
            /// One for the whole process: a request on its way must be recognised after a reload, too.
            static OWN: LazyLock<Box<str>> =
                LazyLock::new(|| format!("sluicegate-{:08x}", ids::random() as u32).into());
            return OWN.clone();
        };
        if !is_token(said.as_bytes()) {
            let message = format!("`{said}` can't be a name in `Via`");
            self.error(
                Code::E015,
                "/instanceId",
                message,
                "expected letters, digits and `-`, such as `gateway-1`",
            );
        }
        said.as_str().into()
    }

    pub(super) fn cursor(&self, pointer: &str) -> Option<Cursor<'_>> {
        let file = self.file?;
        let value = file.root.pointer(pointer).unwrap_or(&file.root);
        Some(Cursor {
            file,
            value,
            pointer: pointer.to_owned(),
        })
    }

    pub(super) fn error(
        &mut self,
        code: Code,
        pointer: &str,
        message: impl Into<String>,
        hint: &str,
    ) {
        // A bare document says nothing of all this, so that nothing of it can be wrong.
        let finding = self
            .cursor(pointer)
            .map(|cursor| cursor.report(code, message).hint(hint));
        self.diagnostics.extend(finding);
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

    fn apis(&mut self, definition: Option<&File>, common: &Common<'_>) -> Vec<Api> {
        let mut apis = Vec::new();
        for (at, said) in self.settings.apis.iter().enumerate() {
            let access_log =
                self.access_log(said.access_log.as_ref(), &format!("/apis/{at}/accessLog"));
            self.check_api(at, said);
            let read = match definition {
                Some(_) => None,
                None => match self.definition(at, said) {
                    Some(file) => Some(file),
                    None => continue,
                },
            };
            let Some(file) = definition.or(read.as_ref()) else {
                continue;
            };
            let gateway = &self.settings.defaults;
            let client_certificate = said
                .client_certificate
                .as_ref()
                .and_then(|said| self.client_certificate(said, at));
            let source = api::Source {
                client_certificate,
                file,
                said,
                gateway,
                vpc_links: common.vpc_links,
                listeners: common.listeners,
                functions: common.functions,
                lambda: common.lambda,
            };
            if let Some(api) = api::build(&source, self.diagnostics) {
                apis.push(Api { access_log, ..api });
            }
        }
        self.check_places(&apis);
        apis
    }

    fn definition(&mut self, at: usize, said: &said::Api) -> Option<File> {
        let place = self.cursor(&format!("/apis/{at}/definition"));
        let asked = place
            .as_ref()
            .map(|place| (place.file.name.clone(), place.place()));
        let path = self.base.join(&said.definition);
        self.diagnostics.read_from(&path);
        File::read_for(&path, asked, self.diagnostics)
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
        trusted_hops: said.trusted_hops.unwrap_or_default() as usize,
        pass_underscores: said.underscore_headers == Some(UnderscoreHeaders::Pass),
    }
}

fn shutdown(said: &said::Shutdown) -> Shutdown {
    Shutdown {
        pre_stop_delay: millis(said.pre_stop_delay_in_millis, 5000),
        drain_timeout: millis(said.drain_timeout_in_millis, 930_000),
    }
}
