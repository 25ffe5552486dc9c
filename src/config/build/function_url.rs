//! A function's URL: how it answers, and what it says of cross-origin requests, within Lambda's limits of both.

use std::collections::BTreeMap;

use super::settings::Builder;
use crate::{
    config::{
        codes::Code,
        document::settings::{self as said, InvokeMode, UrlAuthType},
        locate::join,
        model::{Cors, Function, FunctionUrl, TransferMode},
        suggest::nearest,
        uri::{UriTemplate, parse_origin},
    },
    stream::shaper::Bandwidth,
    types::fields::is_token,
};

/// Lambda's limit of a streamed response (page "Lambda quotas").
const STREAMED_RESPONSE: u64 = 200 * 1024 * 1024;
/// Entries of a list, and bytes of an origin and of a header's name (API reference, "Cors").
const MOST_ENTRIES: usize = 100;
const MOST_ORIGIN: usize = 253;
const MOST_NAME: usize = 1024;
/// Methods that may be allowed. `OPTIONS` is the URL's own.
const METHODS: [&str; 7] = ["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"];

impl Builder<'_> {
    /// The URL of the function `name`, which stands at `function`.
    pub(super) fn function_url(
        &mut self,
        name: &str,
        said: &said::FunctionUrl,
        function: &str,
    ) -> FunctionUrl {
        if let Some(cors) = &said.cors {
            self.check_cors(cors, &join(&join(function, "functionUrlConfig"), "cors"));
        }
        FunctionUrl {
            // Host names have no underscores, and no case.
            id: name.to_ascii_lowercase().replace('_', "-").into(),
            is_open: said.auth_type == UrlAuthType::None,
            mode: match said.invoke_mode {
                InvokeMode::Buffered => TransferMode::Buffered,
                InvokeMode::ResponseStream => TransferMode::Stream,
            },
            cors: said.cors.as_ref().map(cors),
            streamed_response: said.streamed_response_bytes.unwrap_or(STREAMED_RESPONSE),
            bandwidth: Bandwidth::LAMBDA,
        }
    }

    /// No two URLs have the same host.
    pub(super) fn check_url(
        &mut self,
        function: &Function,
        others: &BTreeMap<Box<str>, Function>,
        pointer: &str,
    ) {
        let Some(id) = function.url.as_ref().map(|url| &url.id) else {
            return;
        };
        let same = others
            .values()
            .find(|other| other.url.as_ref().is_some_and(|url| url.id == *id));
        if let Some(other) = same {
            let message = format!(
                "the URLs of `{}` and `{}` have the same host, `{id}.lambda-url.…`",
                other.name, function.name
            );
            self.error(
                Code::E016,
                pointer,
                message,
                "rename one: in a host there is no case, and `_` becomes `-`",
            );
        }
    }

    fn check_cors(&mut self, said: &said::Cors, pointer: &str) {
        let lists = [
            ("allowOrigins", &said.allow_origins),
            ("allowHeaders", &said.allow_headers),
            ("exposeHeaders", &said.expose_headers),
        ];
        for (key, entries) in lists {
            if entries.len() > MOST_ENTRIES {
                let message = format!("`{key}` has {} entries", entries.len());
                let hint = "Lambda takes at most 100; `*` stands for all";
                self.error(Code::E014, &join(pointer, key), message, hint);
            }
        }
        self.check_entries(&join(pointer, "allowOrigins"), &said.allow_origins, |it| {
            let hint = "expected `*`, or scheme and host without a path, such as `https://www.example.com`";
            (!is_origin(it)).then(|| (Code::E015, "isn't an origin", hint.to_owned()))
        });
        self.check_entries(&join(pointer, "allowMethods"), &said.allow_methods, |it| {
            (!METHODS.contains(&it)).then(|| {
                let upper = it.to_ascii_uppercase();
                let same = METHODS.into_iter().find(|own| *own == upper);
                let meant = same.or_else(|| nearest(&upper, METHODS)).filter(|it| *it != "*");
                let hint = meant.map_or_else(
                    || "expected `GET`, `PUT`, `HEAD`, `POST`, `PATCH`, `DELETE` or `*`; preflight requests are answered in any case".to_owned(),
                    |meant| format!("did you mean `{meant}`?"),
                );
                (Code::E013, "isn't a method that Lambda lets allow", hint)
            })
        });
        for (key, names) in [
            ("allowHeaders", &said.allow_headers),
            ("exposeHeaders", &said.expose_headers),
        ] {
            self.check_entries(&join(pointer, key), names, |it| {
                let is_name = is_token(it.as_bytes()) && it.len() <= MOST_NAME;
                let hint = "expected a name such as `X-Custom`, or `*`";
                (!is_name).then(|| (Code::E015, "can't be the name of a header", hint.to_owned()))
            });
        }
    }

    /// Reports the entries of a list for which `judge` has a code, what is wrong, and a hint.
    fn check_entries(
        &mut self,
        pointer: &str,
        entries: &[String],
        judge: impl Fn(&str) -> Option<(Code, &'static str, String)>,
    ) {
        for (at, entry) in entries.iter().enumerate() {
            if let Some((code, what, hint)) = judge(entry) {
                let message = format!("`{entry}` {what}");
                self.error(code, &join(pointer, &at.to_string()), message, &hint);
            }
        }
    }
}

/// Whether a text is `*`, or scheme and host with a port, if any: what browsers send as `Origin`.
fn is_origin(text: &str) -> bool {
    let is_web = parse_origin(text).is_ok() && UriTemplate::is_bare(text) && !text.ends_with('/');
    // Apps have origins of their own, such as `capacitor://localhost`.
    let is_other = text
        .split_once("://")
        .is_some_and(|(scheme, host)| is_token(scheme.as_bytes()) && is_token(host.as_bytes()));
    text.len() <= MOST_ORIGIN && (text == "*" || is_web || is_other)
}

fn cors(said: &said::Cors) -> Cors {
    let copied = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
    Cors {
        allow_credentials: said.allow_credentials,
        allow_headers: said
            .allow_headers
            .iter()
            .map(|name| name.to_ascii_lowercase().into())
            .collect(),
        allow_methods: copied(&said.allow_methods),
        allow_origins: copied(&said.allow_origins),
        expose_headers: copied(&said.expose_headers),
        max_age: said.max_age,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_no_path() {
        for (text, expected) in [
            ("*", true),
            ("https://www.example.com", true),
            ("http://localhost:3000", true),
            ("capacitor://localhost", true),
            ("https://www.example.com/", false),
            ("https://www.example.com/a", false),
            ("www.example.com", false),
            ("https://", false),
            ("null", false),
        ] {
            assert_eq!(is_origin(text), expected, "{text}");
        }
        assert!(!is_origin(&format!("https://{}.example", "a".repeat(253))));
    }
}
