//! What VPC links stand for outside of AWS.

use std::collections::BTreeMap;

use super::settings::{Builder, millis};
use crate::config::{
    codes::Code,
    document::settings as said,
    model::{HealthCheck, Origin, VpcLink},
    uri::{UriTemplate, parse_origin},
};

impl Builder<'_> {
    /// The targets by VPC link id.
    pub(super) fn vpc_links(&mut self) -> BTreeMap<String, VpcLink> {
        let settings = self.settings;
        let mut links = BTreeMap::new();
        for (id, link) in &settings.vpc_links {
            let pointer = crate::config::locate::join("/vpcLinks", id);
            if link.targets.is_empty() {
                let message = format!("the VPC link `{id}` has no targets");
                self.error(
                    Code::E012,
                    &format!("{pointer}/targets"),
                    message,
                    "list at least one URL",
                );
            }
            let targets = link.targets.iter().enumerate();
            let targets = targets
                .filter_map(|(at, url)| self.target(url, &format!("{pointer}/targets/{at}")))
                .collect();
            let health_check = link
                .health_check
                .as_ref()
                .map(|check| self.health_check(check, &pointer));
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

    fn target(&mut self, url: &str, pointer: &str) -> Option<Origin> {
        let Ok(origin) = parse_origin(url) else {
            let message = format!("`{url}` isn't the URL of a target");
            self.error(
                Code::E015,
                pointer,
                message,
                "write it like `http://10.0.0.7:8080`",
            );
            return None;
        };
        if !UriTemplate::is_bare(url) {
            let message = format!("the target `{url}` has a path");
            let hint = format!(
                "write `{}://{}`; the path comes from the integration's `uri`",
                if origin.is_tls { "https" } else { "http" },
                origin.authority
            );
            self.error(Code::E015, pointer, message, &hint);
        }
        Some(origin)
    }

    fn health_check(&mut self, said: &said::HealthCheck, pointer: &str) -> HealthCheck {
        if !said.path.starts_with('/') {
            let message = format!("`{}` isn't the path of a health check", said.path);
            let hint = "write it like `/health`";
            self.error(
                Code::E015,
                &format!("{pointer}/healthCheck/path"),
                message,
                hint,
            );
        }
        HealthCheck {
            path: said.path.clone(),
            interval: millis(said.interval_in_millis, 10_000),
            timeout: millis(said.timeout_in_millis, 2000),
        }
    }
}
