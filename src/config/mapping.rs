//! Parameter mappings: `integration.request.header.X: method.request.querystring.y` and their like.

use crate::types::variable::Variable;

/// Where a mapped value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path parameter, raw.
    Path(Box<str>),
    /// The last value of a query parameter, raw.
    Query(Box<str>),
    /// All values of a query parameter.
    MultiQuery(Box<str>),
    /// The last value of a header.
    Header(Box<str>),
    /// All values of a header.
    MultiHeader(Box<str>),
    /// The whole request body.
    Body,
    /// A value in the request body, by its keys and indices.
    BodyPath(Vec<Box<str>>),
    /// A context variable.
    Context(Variable),
    /// A fixed text; stage variables end as this, since they are known when the document is loaded.
    Literal(Box<str>),
    /// A stage variable without a value.
    Absent,
}

impl Source {
    /// Whether the request body is needed for it.
    pub fn is_body(&self) -> bool {
        matches!(self, Source::Body | Source::BodyPath(_))
    }

    /// Whether the client has a say in it.
    pub fn is_from_client(&self) -> bool {
        !matches!(
            self,
            Source::Literal(_) | Source::Absent | Source::Context(_)
        )
    }
}

/// Where a mapped value goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A header of the request to the integration.
    Header(Box<str>),
    /// A query parameter.
    Query(Box<str>),
    /// A placeholder in the URI.
    Path(Box<str>),
}

/// Reads `integration.request.{header|querystring|path}.NAME`.
pub fn parse_target(text: &str) -> Option<Target> {
    let (place, name) = text.strip_prefix("integration.request.")?.split_once('.')?;
    if !is_name(name) {
        return None;
    }
    match place {
        "header" => Some(Target::Header(name.into())),
        "querystring" => Some(Target::Query(name.into())),
        "path" => Some(Target::Path(name.into())),
        _ => None,
    }
}

/// Why a source can't be read.
#[derive(Debug, PartialEq, Eq)]
pub enum SourceFault {
    /// Not one of the forms.
    Form,
    /// `context.` and a name that doesn't exist.
    Context(String),
}

/// Reads the source of a mapping. `stage_variable` gives the value of a stage variable.
pub fn parse_source(
    text: &str,
    stage_variable: impl Fn(&str) -> Option<String>,
) -> Result<Source, SourceFault> {
    if let Some(literal) = text
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
    {
        return Ok(Source::Literal(literal.into()));
    }
    if let Some(name) = text.strip_prefix("context.") {
        return Variable::from_name(name)
            .map(Source::Context)
            .ok_or_else(|| SourceFault::Context(name.to_owned()));
    }
    if let Some(name) = text.strip_prefix("stageVariables.") {
        return Ok(
            stage_variable(name).map_or(Source::Absent, |value| Source::Literal(value.into()))
        );
    }
    let rest = text
        .strip_prefix("method.request.")
        .ok_or(SourceFault::Form)?;
    if rest == "body" {
        return Ok(Source::Body);
    }
    let (place, name) = rest.split_once('.').ok_or(SourceFault::Form)?;
    if place == "body" {
        return body_path(name)
            .map(Source::BodyPath)
            .ok_or(SourceFault::Form);
    }
    if !is_name(name) {
        return Err(SourceFault::Form);
    }
    let name = name.into();
    match place {
        "path" => Ok(Source::Path(name)),
        "querystring" => Ok(Source::Query(name)),
        "multivaluequerystring" => Ok(Source::MultiQuery(name)),
        "header" => Ok(Source::Header(name)),
        "multivalueheader" => Ok(Source::MultiHeader(name)),
        _ => Err(SourceFault::Form),
    }
}

/// The forms a source may have, for findings.
pub const SOURCE_FORMS: &str = "expected `method.request.{path|querystring|multivaluequerystring|header|multivalueheader}.NAME`, \
     `method.request.body[.JSONPATH]`, `stageVariables.NAME`, `context.NAME` or `'static text'`";

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._$-".contains(&byte))
}

/// `a.b[0].c` as its keys and indices.
fn body_path(text: &str) -> Option<Vec<Box<str>>> {
    let text = text.strip_prefix("$.").unwrap_or(text);
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (key, indices) = part
            .split_once('[')
            .map_or((part, None), |(key, rest)| (key, Some(rest)));
        if key.is_empty() {
            return None;
        }
        steps.push(key.into());
        for index in indices.into_iter().flat_map(|rest| rest.split('[')) {
            let index = index.strip_suffix(']')?;
            index.parse::<usize>().ok()?;
            steps.push(index.into());
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Result<Source, SourceFault> {
        parse_source(text, |name| (name == "backend").then(|| "b".to_owned()))
    }

    #[test]
    fn all_documented_forms_are_read() {
        assert_eq!(
            source("method.request.path.id"),
            Ok(Source::Path("id".into()))
        );
        assert_eq!(
            source("method.request.querystring.a.b"),
            Ok(Source::Query("a.b".into()))
        );
        assert_eq!(
            source("method.request.multivalueheader.X-A"),
            Ok(Source::MultiHeader("X-A".into()))
        );
        assert_eq!(source("method.request.body"), Ok(Source::Body));
        let path = ["user", "names", "0"].map(Into::into).to_vec();
        assert_eq!(
            source("method.request.body.user.names[0]"),
            Ok(Source::BodyPath(path))
        );
        assert_eq!(
            source("stageVariables.backend"),
            Ok(Source::Literal("b".into()))
        );
        assert_eq!(source("stageVariables.other"), Ok(Source::Absent));
        assert_eq!(
            source("context.requestId"),
            Ok(Source::Context(Variable::RequestId))
        );
        assert_eq!(source("'a b'"), Ok(Source::Literal("a b".into())));
    }

    #[test]
    fn other_forms_are_not() {
        for text in [
            "",
            "id",
            "method.request.cookie.x",
            "method.request.header.",
            "method.request.header.a b",
            "'open",
        ] {
            assert_eq!(source(text), Err(SourceFault::Form), "{text}");
        }
        assert_eq!(
            source("context.requestID"),
            Err(SourceFault::Context("requestID".into()))
        );
        assert_eq!(
            parse_target("integration.request.path.id"),
            Some(Target::Path("id".into()))
        );
        assert_eq!(parse_target("integration.request.body"), None);
        assert_eq!(parse_target("method.request.header.x"), None);
    }
}
