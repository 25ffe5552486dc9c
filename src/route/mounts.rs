//! Which API answers for a host and the beginning of a path.
//!
//! An exact host beats a wildcard, which beats "any host"; among the APIs of a host the longest base path wins, segment
//! by segment, as with API Gateway's base path mappings.

use std::collections::HashMap;

use crate::{config::model::Api, types::target::split_port};

/// The places where APIs are mounted.
#[derive(Debug, Default)]
pub struct Mounts {
    exact: HashMap<Box<str>, Vec<Mount>>,
    /// By what follows the first label.
    wildcard: HashMap<Box<str>, Vec<Mount>>,
    any: Vec<Mount>,
}

#[derive(Clone, Debug)]
struct Mount {
    /// Empty, or a path that begins with a slash and doesn't end with one.
    base_path: Box<str>,
    api: usize,
}

impl Mounts {
    /// The mounts of `apis`.
    pub fn new(apis: &[Api]) -> Mounts {
        let mut mounts = Mounts::default();
        for (api, said) in apis.iter().enumerate() {
            let mount = Mount {
                base_path: said.site.base_path.clone(),
                api,
            };
            if said.domains.is_empty() {
                mounts.any.push(mount.clone());
            }
            for domain in &said.domains {
                let hosts = if domain.is_wildcard {
                    &mut mounts.wildcard
                } else {
                    &mut mounts.exact
                };
                hosts
                    .entry(domain.name.clone())
                    .or_default()
                    .push(mount.clone());
            }
        }
        let lists = mounts
            .exact
            .values_mut()
            .chain(mounts.wildcard.values_mut());
        lists
            .chain([&mut mounts.any])
            .for_each(|list| list.sort_by_key(|mount| std::cmp::Reverse(mount.base_path.len())));
        mounts
    }

    /// The API for a host and path, and the length of its base path.
    pub fn find(&self, authority: &str, path: &str) -> Option<(usize, usize)> {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return longest(&self.any, path);
        }
        let host = split_port(authority)
            .0
            .trim_end_matches('.')
            .to_ascii_lowercase();
        let exact = self.exact.get(host.as_str());
        let wildcard = host
            .split_once('.')
            .and_then(|(_, rest)| self.wildcard.get(rest));
        let lists = [exact, wildcard, Some(&self.any)];
        lists
            .into_iter()
            .flatten()
            .find_map(|list| longest(list, path))
    }
}

fn longest(mounts: &[Mount], path: &str) -> Option<(usize, usize)> {
    // Extra slashes before the stage are collapsed.
    let extra = path.len() - path.trim_start_matches('/').len();
    let skipped = extra.saturating_sub(1);
    let path = path.get(skipped..).unwrap_or_default();
    let under = |mount: &&Mount| {
        path.strip_prefix(&*mount.base_path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mount = mounts.iter().find(under)?;
    let base = if mount.base_path.is_empty() {
        0
    } else {
        skipped + mount.base_path.len()
    };
    Some((mount.api, base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::model::{Domain, ExecutionLog, GatewayResponses},
        types::site::Site,
    };

    fn api(domains: &[&str], base_path: &str) -> Api {
        let domain = |name: &&str| match name.strip_prefix("*.") {
            Some(rest) => Domain {
                name: rest.into(),
                is_wildcard: true,
            },
            None => Domain {
                name: (*name).into(),
                is_wildcard: false,
            },
        };
        Api {
            definition: "api.yaml".into(),
            site: Site {
                base_path: base_path.into(),
                ..Site::default()
            },
            domains: domains.iter().map(domain).collect(),
            methods: Vec::new(),
            gateway_responses: GatewayResponses::default(),
            access_log: None,
            execution_log: ExecutionLog::Off,
            client_certificate: None,
            minimum_compression_size: None,
            binary_media_types: Vec::new(),
        }
    }

    #[test]
    fn the_longest_base_path_wins_by_whole_segments() {
        let mounts = Mounts::new(&[api(&[], ""), api(&[], "/prod"), api(&[], "/prod/v2")]);
        for (path, expected) in [
            ("/prod/x", (1, 5)),
            ("/prod", (1, 5)),
            ("/prod/v2/x", (2, 8)),
            ("/prod/v2x", (1, 5)),
            ("/production", (0, 0)),
            ("//prod/x", (1, 6)),
        ] {
            assert_eq!(mounts.find("any", path), Some(expected), "{path}");
        }
        assert_eq!(
            Mounts::new(&[api(&[], "/prod")]).find("any", "/other"),
            None
        );
    }

    #[test]
    fn an_exact_host_beats_a_wildcard_beats_any() {
        let mounts = Mounts::new(&[
            api(&[], ""),
            api(&["*.example.com"], ""),
            api(&["api.example.com"], "/v1"),
        ]);
        for (host, path, expected) in [
            ("api.example.com:8080", "/v1/x", 2),
            ("API.Example.COM.", "/v1/x", 2),
            ("api.example.com", "/v2/x", 1),
            ("www.example.com", "/v1/x", 1),
            ("example.com", "/v1/x", 0),
            ("a.b.example.com", "/v1/x", 0),
        ] {
            assert_eq!(
                mounts.find(host, path).map(|(api, _)| api),
                Some(expected),
                "{host}{path}"
            );
        }
        assert_eq!(Mounts::new(&[api(&["a.com"], "")]).find("b.com", "/"), None);
    }
}
