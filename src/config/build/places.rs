//! Where APIs are mounted, and the names that make up the place.

use std::collections::HashMap;

use super::settings::Builder;
use crate::{
    config::{
        codes::Code,
        document::settings as said,
        locate::join,
        model::{Api, Domain},
    },
    types::target::{check_authority, split_port},
};

/// The longest name of a stage, as on AWS.
const MOST_OF_STAGE: usize = 128;

impl Builder<'_> {
    /// Checks what the settings say about an API, apart from its document.
    pub(super) fn check_api(&mut self, at: usize, said: &said::Api) {
        let pointer = format!("/apis/{at}");
        let is_word = |text: &str, more: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if let Some(stage) = said
            .stage
            .as_deref()
            .filter(|it| !is_word(it, "-_") || it.len() > MOST_OF_STAGE)
        {
            let message = format!("`{stage}` can't be the name of a stage");
            let hint = "expected up to 128 letters, digits, `-` and `_`, such as `prod`";
            self.error(Code::E015, &format!("{pointer}/stage"), message, hint);
        }
        let base_path = said
            .base_path
            .as_deref()
            .unwrap_or_default()
            .trim_matches('/');
        if !base_path.is_empty()
            && !base_path
                .split('/')
                .all(|segment| is_word(segment, "$-_.+!*'(),~"))
        {
            let message = format!("`{base_path}` can't be a base path");
            let hint = "write it like `/prod` or `/shop/v1`, without parameters";
            self.error(Code::E015, &format!("{pointer}/basePath"), message, hint);
        }
        for (index, domain) in said.domains.iter().enumerate() {
            self.check_domain(domain, &format!("{pointer}/domains/{index}"));
        }
        self.check_stage_variables(said, &format!("{pointer}/stageVariables"));
    }

    fn check_domain(&mut self, domain: &str, pointer: &str) {
        let bare = domain.split_once("://").map_or(domain, |(_, rest)| rest);
        let bare = bare.split('/').next().unwrap_or_default();
        let bare = match bare.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() && !host.ends_with(':') => host,
            _ => bare,
        };
        let name = bare.strip_prefix("*.").unwrap_or(bare);
        let is_name = !name.trim_end_matches('.').is_empty()
            && !name.contains('*')
            && check_authority(name).is_ok()
            && split_port(name).1.is_none();
        if bare == domain && is_name {
            return;
        }
        let message = format!("`{domain}` isn't a host name");
        let hint = if is_name {
            format!("write `{bare}`, without scheme, port and path")
        } else {
            "write it like `api.example.com` or `*.example.com`".to_owned()
        };
        self.error(Code::E015, pointer, message, &hint);
    }

    /// Stage variables that API Gateway would refuse.
    fn check_stage_variables(&mut self, said: &said::Api, pointer: &str) {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#&=,".contains(c);
        for (name, value) in &said.stage_variables {
            let at = join(pointer, name);
            if name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                let message = format!("`{name}` can't be the name of a stage variable on AWS");
                let finding = self
                    .cursor(&at)
                    .map(|at| at.report_key(Code::W123, message));
                let hint = "names have up to 64 letters, digits and `_`";
                self.diagnostics
                    .extend(finding.map(|finding| finding.hint(hint)));
            }
            let bad = value.chars().find(|c| !is_allowed(*c));
            if bad.is_some() || value.len() > 512 {
                let why = match bad {
                    Some(' ') => "it has a space".to_owned(),
                    Some(character) => format!("it has a `{character}`"),
                    None => "it has more than 512 characters".to_owned(),
                };
                let message =
                    format!("the value of the stage variable `{name}` is refused by AWS: {why}");
                let hint = "values have up to 512 of `A-Z a-z 0-9 - . _ ~ : / ? # & = ,`";
                self.error(Code::W123, &at, message, hint);
            }
        }
    }

    /// No two APIs may claim the same host and base path.
    pub(super) fn check_places(&mut self, apis: &[Api]) {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::build::{Loaded, Overrides, load_text};

    fn load(domain: &str) -> Loaded {
        let text = format!("apis: [{{definition: openapi.yaml, domains: ['{domain}']}}]");
        load_text("test", &text, Path::new("config"), &Overrides::default())
    }

    #[test]
    fn a_domain_is_one_that_a_request_can_ask_for() {
        for (said, meant) in [
            ("API.example.com.", "api.example.com"),
            ("*.example.com.", "example.com"),
            ("[::1]", "[::1]"),
        ] {
            let model = load(said).model.expect(said);
            assert_eq!(&*model.apis[0].domains[0].name, meant);
        }
        for said in ["example.com:", ".", "*.", "*.."] {
            assert!(load(said).diagnostics.is_fatal(), "{said}");
        }
    }
}
