//! Which method of which API answers a request: host, base path, then a trie of path segments.

pub mod describe;
pub mod explain;
pub mod mounts;
pub mod trie;

use http::Method;

use crate::{config::model::Api, types::target::climbs};
use mounts::Mounts;
use trie::{Places, Trie};

/// Routes of all APIs.
#[derive(Debug)]
pub struct Router {
    mounts: Mounts,
    tries: Vec<Trie>,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// To a method of an API, with the places of its path parameters in the target's path.
    Method {
        /// The API's index.
        api: usize,
        /// The method's index in the API.
        method: usize,
        /// Where each parameter's raw value stands.
        parameters: Places,
    },
    /// The API has no such resource and method.
    NoRoute {
        /// The API's index.
        api: usize,
    },
    /// The path climbs above the API's base path.
    Climbs {
        /// The API's index.
        api: usize,
    },
    /// No API answers for this host and path.
    NoApi,
}

impl Router {
    /// The routes of `apis`.
    pub fn new(apis: &[Api]) -> Router {
        let tries = apis.iter().map(|api| {
            let mut trie = Trie::default();
            for (index, method) in api.methods.iter().enumerate() {
                trie.insert(&method.resource.path, &method.verb, index);
            }
            trie
        });
        Router {
            mounts: Mounts::new(apis),
            tries: tries.collect(),
        }
    }

    /// Finds the method for a request. `authority` is the host the client asked for; `path` is raw.
    pub fn find(&self, authority: &str, method: &Method, path: &str) -> Found {
        let Some((api, base)) = self.mounts.find(authority, path) else {
            return Found::NoApi;
        };
        if base > 0 && climbs(path.get(base..).unwrap_or_default()) {
            return Found::Climbs { api };
        }
        let hit = self
            .tries
            .get(api)
            .and_then(|trie| trie.find(method, path, base));
        match hit {
            Some((method, parameters)) => Found::Method {
                api,
                method,
                parameters,
            },
            None => Found::NoRoute { api },
        }
    }

    /// The trie of an API.
    pub fn trie(&self, api: usize) -> Option<&Trie> {
        self.tries.get(api)
    }
}
