//! A document's own base path, and what API Gateway's import makes of it.

use super::Version;
use crate::config::document::{file::Cursor, settings::ImportBasePath};

/// What stands before every path of the document; empty or beginning with `/`.
pub fn prefix(root: &Cursor<'_>, version: Version, import: ImportBasePath) -> String {
    let written = match version {
        Version::Swagger2 => root.get("basePath").and_then(|path| path.scalar()),
        Version::OpenApi3 => server_path(root),
    };
    let written = written.unwrap_or_default();
    let segments: Vec<&str> = written
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let kept = match import {
        ImportBasePath::Ignore => &[],
        ImportBasePath::Prepend => segments.as_slice(),
        ImportBasePath::Split => segments.get(1..).unwrap_or_default(),
    };
    kept.iter().flat_map(|segment| ["/", segment]).collect()
}

/// The `basePath` server variable, or the path of the first server's URL.
fn server_path(root: &Cursor<'_>) -> Option<String> {
    let server = root.get("servers")?.items().next()?;
    let variable = server
        .get("variables")
        .and_then(|variables| variables.get("basePath")?.get("default"));
    if let Some(variable) = variable {
        return variable.scalar();
    }
    let url = server.get("url")?.scalar()?;
    let after_scheme = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let has_authority = after_scheme.len() < url.len();
    let path = if has_authority {
        after_scheme.find('/').and_then(|at| after_scheme.get(at..))
    } else {
        Some(after_scheme)
    };
    path.map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{diagnostics::Diagnostics, document::file::File};

    fn of(text: &str, version: Version, import: ImportBasePath) -> String {
        let file = File::parse(&"test".into(), text, &mut Diagnostics::default()).unwrap();
        prefix(&Cursor::root(&file), version, import)
    }

    #[test]
    fn servers_and_base_path_follow_the_import_parameter() {
        let servers = "servers: [{url: 'https://example.com/base-url/part/'}]";
        for (import, expected) in [
            (ImportBasePath::Ignore, ""),
            (ImportBasePath::Prepend, "/base-url/part"),
            (ImportBasePath::Split, "/part"),
        ] {
            assert_eq!(of(servers, Version::OpenApi3, import), expected);
        }
        let variable =
            "servers: [{url: 'https://x/{basePath}', variables: {basePath: {default: v1}}}]";
        assert_eq!(
            of(variable, Version::OpenApi3, ImportBasePath::Prepend),
            "/v1"
        );
        assert_eq!(
            of(
                "servers: [{url: /Prod}]",
                Version::OpenApi3,
                ImportBasePath::Prepend
            ),
            "/Prod"
        );
        assert_eq!(
            of("basePath: /a/b", Version::Swagger2, ImportBasePath::Split),
            "/b"
        );
        assert_eq!(
            of("openapi: 3.0.1", Version::OpenApi3, ImportBasePath::Prepend),
            ""
        );
    }
}
