//! Where spans go: `tracing:`, and for what it leaves unsaid the variables that OpenTelemetry has for every program
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use percent_encoding::percent_decode_str;

use super::settings::Builder;
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostic,
        document::settings as said,
        model::{Origin, Secret, Tracing},
        uri::parse_origin,
    },
    types::{
        fields::{is_field_value, is_token},
        known::Known,
    },
};

/// The variable that names the collector.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The variable that says how many requests are traced.
const RATE: &str = "OTEL_TRACES_SAMPLER_ARG";
/// The variable with what a collector wants to be sent besides, such as a key.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// Where a collector takes spans, below its address.
const PATH: &str = "/v1/traces";

/// What the variables of OpenTelemetry say.
#[derive(Clone, Debug, Default)]
pub struct TracingVariables {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Option<String>,
    /// `OTEL_TRACES_SAMPLER_ARG`.
    pub rate: Option<String>,
    /// `OTEL_SERVICE_NAME`.
    pub service: Option<String>,
    /// `OTEL_EXPORTER_OTLP_HEADERS`.
    pub headers: Option<Secret>,
    /// `OTEL_SDK_DISABLED`.
    pub is_disabled: bool,
}

impl TracingVariables {
    /// What this process was started with. An empty variable says nothing.
    pub fn from_env() -> TracingVariables {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        TracingVariables {
            endpoint: read(ENDPOINT),
            rate: read(RATE),
            service: read("OTEL_SERVICE_NAME"),
            headers: read(HEADERS).map(|text| Secret(text.into())),
            is_disabled: read("OTEL_SDK_DISABLED")
                .is_some_and(|it| it.eq_ignore_ascii_case("true")),
        }
    }
}

impl Builder<'_> {
    /// Where spans go, if anywhere.
    pub(super) fn tracing(&mut self, instance: &str) -> Option<Tracing> {
        let (said, variables) = (self.settings.tracing.as_ref(), &self.overrides.tracing);
        if !cfg!(feature = "otel") {
            if said.is_some() {
                let message = "this build of Sluicegate doesn't send traces";
                let hint = "build it with the feature `otel`, which is on by default";
                self.error(Code::W125, "/tracing", message, hint);
            }
            return None;
        }
        if variables.is_disabled || (said.is_none() && variables.endpoint.is_none()) {
            return None;
        }
        let unsaid = said::Tracing::default();
        let said = said.unwrap_or(&unsaid);
        let (origin, path) = self.collector(said.otlp_endpoint.as_deref())?;
        let rate = said.sample_rate.or_else(|| self.rate());
        let service = said.service_name.as_deref();
        let headers = self.headers();
        Some(Tracing {
            origin,
            path,
            rate: rate.unwrap_or(1.0),
            service: service
                .or(variables.service.as_deref())
                .unwrap_or("sluicegate")
                .into(),
            instance: instance.into(),
            headers,
        })
    }

    fn collector(&mut self, said: Option<&str>) -> Option<(Origin, Box<str>)> {
        let hint = "write it like `http://127.0.0.1:4318`";
        let Some(url) = said.or(self.overrides.tracing.endpoint.as_deref()) else {
            let message = "traces are asked for, but not where they go";
            let hint = format!("set `otlpEndpoint`, or {ENDPOINT}");
            self.error(Code::E012, "/tracing", message, &hint);
            return None;
        };
        let found = collector(url);
        if found.is_none() {
            let message = format!("`{url}` isn't the URL of a collector");
            if said.is_some() {
                self.error(Code::E015, "/tracing/otlpEndpoint", message, hint);
            } else {
                self.wrong_variable(ENDPOINT, message, hint);
            }
        }
        found
    }

    /// The share of requests that the environment asks for.
    fn rate(&mut self) -> Option<f64> {
        let text = self.overrides.tracing.rate.as_deref()?;
        let rate: Option<f64> = text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
        if rate.is_none() {
            let message = format!("`{text}` isn't a share of requests");
            self.wrong_variable(RATE, message, "expected a number from 0 to 1");
        }
        rate
    }

    /// What the collector is sent besides. Only the environment says it: a configuration is no place for secrets.
    fn headers(&mut self) -> Vec<(Box<str>, Secret)> {
        let text = self.overrides.tracing.headers.as_ref().map(|it| &*it.0);
        let headers: Option<Vec<_>> = text
            .unwrap_or_default()
            .split(',')
            .filter(|it| !it.trim().is_empty())
            .map(header)
            .collect();
        headers.unwrap_or_else(|| {
            // The value isn't shown.
            let message = "it isn't a list of headers that may be added".to_owned();
            self.wrong_variable(
                HEADERS,
                message,
                "write it like `authorization=Bearer%20abc,x-team=shop`",
            );
            Vec::new()
        })
    }

    fn wrong_variable(&mut self, name: &str, message: String, hint: &str) {
        let finding = Diagnostic::new(Code::E015, &name.into(), message);
        self.diagnostics.push(finding.hint(hint));
    }
}

/// A `name=value`, as W3C Baggage writes them; the value is percent-encoded.
fn header(text: &str) -> Option<(Box<str>, Secret)> {
    let (name, value) = text.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let known = Known::of(name.trim().as_bytes());
    let is_own = known.is_hop_by_hop()
        || matches!(
            known,
            Known::Host | Known::ContentLength | Known::ContentType | Known::UserAgent
        );
    let fits = is_token(name.trim().as_bytes()) && is_field_value(value.as_bytes()) && !is_own;
    fits.then(|| (name.trim().into(), Secret(value.into())))
}

fn collector(url: &str) -> Option<(Origin, Box<str>)> {
    let origin = parse_origin(url).ok()?;
    let (_, rest) = url.split_once("://")?;
    let base = rest.strip_prefix(&*origin.authority)?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#{}$".contains(&byte);
    let path = format!("{}{PATH}", base.trim_end_matches('/'));
    (path.starts_with('/') && base.bytes().all(is_plain)).then(|| (origin, path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_for_the_collector_are_decoded_and_checked() {
        let pair = |name: &str, value: &str| Some((name.into(), Secret(value.into())));
        for (text, read) in [
            (
                "authorization=Bearer%20abc",
                pair("authorization", "Bearer abc"),
            ),
            (" x-key = a=b ", pair("x-key", "a=b")),
            ("x-key=", pair("x-key", "")),
            ("x key=a", None),
            ("x-key", None),
            ("x-key=a%0d%0ab", None),
            ("x-key=%ff", None),
            ("Host=a", None),
            ("transfer-encoding=chunked", None),
        ] {
            assert_eq!(header(text), read, "{text}");
        }
    }

    #[test]
    fn spans_go_below_the_collectors_address() {
        for (url, authority, path) in [
            ("http://127.0.0.1:4318", "127.0.0.1:4318", "/v1/traces"),
            ("http://[::1]:4318/", "[::1]:4318", "/v1/traces"),
            ("https://otel.example/in", "otel.example", "/in/v1/traces"),
        ] {
            let (origin, found) = collector(url).unwrap();
            assert_eq!((&*origin.authority, &*found), (authority, path), "{url}");
        }
        for bad in [
            "",
            "127.0.0.1:4318",
            "grpc://127.0.0.1:4317",
            "http://a/?b",
            "http://a/{b}",
        ] {
            assert!(collector(bad).is_none(), "{bad}");
        }
    }
}
