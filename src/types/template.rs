//! Text with `$context.…` and `$stageVariables.…` in it, compiled once.
//!
//! Serves the access log's format, gateway responses and MOCK templates. It is substitution, not VTL: what looks like
//! a directive is found by [`Template::directives`] and reported when the document is loaded.

use super::{
    context::Context,
    escape,
    site::{Resource, Site},
    variable::Variable,
};

/// A piece of a compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Context(Variable),
    StageVariable(Box<str>),
    Header(Box<str>),
    Query(Box<str>),
    Path(Box<str>),
}

/// A compiled template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// How values are made safe for the text around them, and what stands for an absent one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// A log line: JSON escapes, `-` for absent values.
    Log,
    /// A JSON body: JSON escapes, nothing for absent values.
    Json,
    /// A body or header that isn't JSON: as it is, nothing for absent values.
    None,
}

/// A name in a template that stands for nothing the gateway knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The reference as written, such as `$context.requestID`.
    pub reference: String,
    /// Where it begins, in bytes.
    pub at: usize,
}

impl Escape {
    /// A value as it stands in the text; an empty one is absent.
    fn apply(self, value: &str) -> String {
        match self {
            Escape::Log if value.is_empty() => "-".to_owned(),
            Escape::None => value.to_owned(),
            Escape::Log | Escape::Json => {
                let mut escaped = Vec::new();
                escape::json(&mut escaped, value.as_bytes());
                String::from_utf8(escaped).unwrap_or_default()
            }
        }
    }
}

impl Template {
    /// Compiles `text`. References that aren't known are kept out of the output and returned.
    pub fn compile(text: &str) -> (Template, Vec<Unknown>) {
        let mut template = Template::default();
        let mut unknown = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (literal, reference) = rest.split_at(dollar);
            template.literal(literal);
            let at = text.len() - reference.len();
            match parse_reference(reference) {
                Some((Ok(part), length)) => {
                    template.parts.push(part);
                    rest = reference.get(length..).unwrap_or_default();
                }
                Some((Err(()), length)) => {
                    let reference = reference.get(..length).unwrap_or_default().to_owned();
                    rest = rest.get(dollar + length..).unwrap_or_default();
                    unknown.push(Unknown { reference, at });
                    template.parts.push(Part::Context(Variable::Absent));
                }
                None => {
                    template.literal("$");
                    rest = reference.get(1..).unwrap_or_default();
                }
            }
        }
        template.literal(rest);
        (template, unknown)
    }

    fn literal(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Literal(last)) => *last = format!("{last}{text}").into(),
            _ => self.parts.push(Part::Literal(text.into())),
        }
    }

    /// The text itself, if nothing in it is substituted.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it substitutes this variable anywhere.
    pub fn mentions(&self, variable: Variable) -> bool {
        self.parts.contains(&Part::Context(variable))
    }

    /// The same template for the requests of one route, with all values filled in that they have in common.
    #[must_use]
    pub fn for_route(&self, site: &Site, resource: &Resource, escape: Escape) -> Template {
        self.with(escape, |part| match part {
            Part::Context(Variable::Absent) => Some(""),
            Part::Context(variable) => variable
                .of_site(site)
                .or_else(|| variable.of_resource(resource)),
            Part::StageVariable(name) => match site.stage_variable(name) {
                // There, and yet nothing: it isn't told as what is absent is.
                Some("") => None,
                value => Some(value.unwrap_or_default()),
            },
            _ => None,
        })
    }

    /// The same template for requests with which nothing went wrong ([`Context::is_flawless`]).
    #[must_use]
    pub fn for_flawless(&self, escape: Escape) -> Template {
        self.with(escape, |part| match part {
            Part::Context(variable) => variable.of_flawless(),
            _ => None,
        })
    }

    fn with<'a>(&'a self, escape: Escape, value: impl Fn(&'a Part) -> Option<&'a str>) -> Template {
        let mut template = Template::default();
        for part in &self.parts {
            match (part, value(part)) {
                (Part::Literal(text), _) => template.literal(text),
                (_, Some(value)) => template.literal(&escape.apply(value)),
                _ => template.parts.push(part.clone()),
            }
        }
        template
    }

    /// Appends the text with every reference replaced by its value.
    pub fn render(&self, context: &Context, escape: Escape, out: &mut Vec<u8>) {
        for part in &self.parts {
            if let Part::Literal(text) = part {
                out.extend_from_slice(text.as_bytes());
                continue;
            }
            let from = out.len();
            if !part.write(context, out) && escape == Escape::Log {
                out.push(b'-');
            } else if escape != Escape::None && part.is_free_text() {
                escape_from(out, from);
            }
        }
    }

    /// The first thing in `text` that only VTL would understand: a directive such as `#set`, or a variable such as
    /// `$input`.
    pub fn directive(text: &str) -> Option<&str> {
        const DIRECTIVES: [&str; 11] = [
            "#set", "#if", "#else", "#elseif", "#end", "#foreach", "#macro", "#stop", "#break",
            "##", "#*",
        ];
        const VARIABLES: [&str; 2] = ["input", "util"];
        for (at, mark) in text
            .char_indices()
            .filter(|(_, mark)| matches!(mark, '#' | '$'))
        {
            let rest = text.get(at..).unwrap_or_default();
            let length = if mark == '#' {
                DIRECTIVES
                    .iter()
                    .filter(|word| rest.starts_with(**word))
                    .map(|word| word.len())
                    .max()
            } else {
                let (name, lead) = variable_name(rest);
                let known = name.starts_with("context") || name.starts_with("stageVariables");
                let is_vtl = VARIABLES.contains(&name)
                    || (!name.is_empty() && !known && !name.starts_with("method"));
                is_vtl.then_some(lead + name.len())
            };
            if let Some(length) = length {
                return rest.get(..length);
            }
        }
        None
    }
}

/// A VTL variable's name behind `$`, `$!`, `${` or `$!{`, and the length of what stands before the name.
fn variable_name(text: &str) -> (&str, usize) {
    let name = text.trim_start_matches(['$', '!', '{']);
    let lead = text.len() - name.len();
    let end = name
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(name.len());
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
    (
        if starts {
            name.get(..end).unwrap_or_default()
        } else {
            ""
        },
        lead,
    )
}

/// A reference at the start of `text` (which begins with `$`) and its length; `None` if it is just a dollar sign.
fn parse_reference(text: &str) -> Option<(Result<Part, ()>, usize)> {
    let braced = text.starts_with("${");
    let body = text.get(if braced { 2 } else { 1 }..)?;
    let end = body
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        .unwrap_or(body.len());
    // A dot that ends a sentence isn't part of the name.
    let name = body.get(..end)?.trim_end_matches('.');
    if braced && !body.get(name.len()..)?.starts_with('}') {
        return None;
    }
    let length = name.len() + if braced { 3 } else { 1 };
    let (root, rest) = name.split_once('.')?;
    let part = match root {
        // AWS's own announcement spells the streaming variables `$content.…`.
        "context" | "content" => Variable::from_name(rest).map(Part::Context).ok_or(()),
        "stageVariables" => Ok(Part::StageVariable(rest.into())),
        "method" => match rest.strip_prefix("request.")?.split_once('.')? {
            ("header", name) => Ok(Part::Header(name.into())),
            ("querystring", name) => Ok(Part::Query(name.into())),
            ("path", name) => Ok(Part::Path(name.into())),
            _ => Err(()),
        },
        _ => return None,
    };
    Some((part, length))
}

impl Part {
    /// Whether its value needs escapes. `$context.error.messageString` brings its own.
    fn is_free_text(&self) -> bool {
        match self {
            Part::Literal(_) => false,
            Part::Context(variable) => variable.is_free_text(),
            _ => true,
        }
    }

    fn write(&self, context: &Context, out: &mut Vec<u8>) -> bool {
        let value = match self {
            Part::Literal(text) => Some(text.as_bytes()),
            Part::Context(variable) => return variable.write(context, out),
            Part::StageVariable(name) => context
                .site
                .as_deref()
                .and_then(|site| site.stage_variable(name))
                .map(str::as_bytes),
            Part::Header(name) => context.head.fields.named(name.as_bytes()).last(),
            Part::Query(name) => query_value(context.head.target.query(), name).map(str::as_bytes),
            Part::Path(name) => context.path_parameter(name).map(str::as_bytes),
        };
        value.is_some_and(|value| {
            out.extend_from_slice(value);
            true
        })
    }
}

/// The raw value of the last query parameter of this name.
pub fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query?
        .split(['&', ';'])
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .rev()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn escape_from(out: &mut Vec<u8>, from: usize) {
    if !escape::is_plain(out.get(from..).unwrap_or_default()) {
        let value = out.split_off(from);
        escape::json(out, &value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::{
        head::RequestHead,
        outcome::Outcome,
        peer::{Peer, Serves},
    };

    #[test]
    fn templates_for_some_requests_say_the_same_with_fewer_references() {
        let text = "$context.apiId $context.stage ${stageVariables.x}${stageVariables.y} $context.resourcePath \
            $context.requestId $context.authorizer.tenant $context.status \
            $context.sluicegate.outcome$context.sluicegate.side$context.error.message${stageVariables.z}";
        let (template, _) = Template::compile(text);
        let site = Site {
            api_id: "id".into(),
            stage: "\"".into(),
            stage_variables: vec![("x".into(), "1".into()), ("z".into(), "".into())],
            ..Site::default()
        };
        let resource = Resource {
            path: "/a".into(),
            ..Resource::default()
        };
        let address = "127.0.0.1:1".parse().unwrap();
        let peer = Arc::new(Peer::new(address, address, None, Serves::Apis));
        let mut context = Context::open(peer, RequestHead::unreadable());
        context.end = Some((Outcome::Complete, context.opened));
        for escape in [Escape::Log, Escape::Json, Escape::None] {
            let of_route = template.for_route(&site, &resource, escape);
            assert_eq!(of_route.parts.len(), 9, "{of_route:?}");
            context.site = Some(Arc::new(site.clone()));
            context.resource = Some(Arc::new(resource.clone()));
            let rendered = |template: &Template| {
                let mut out = Vec::new();
                template.render(&context, escape, &mut out);
                String::from_utf8(out).unwrap()
            };
            assert_eq!(rendered(&of_route), rendered(&template));
            let of_flawless = template.for_flawless(escape);
            assert_eq!(of_flawless.parts.len(), template.parts.len() - 3);
            assert!(context.is_flawless());
            assert_eq!(rendered(&of_flawless), rendered(&template));
        }
    }

    fn literal_of(text: &str) -> (Vec<Part>, Vec<Unknown>) {
        let (template, unknown) = Template::compile(text);
        (template.parts, unknown)
    }

    #[test]
    fn references_are_found_between_literal_text() {
        let (parts, unknown) =
            literal_of("a $context.requestId, ${stageVariables.x}b $content.status.");
        assert_eq!(unknown, []);
        let expected = [
            Part::Literal("a ".into()),
            Part::Context(Variable::RequestId),
            Part::Literal(", ".into()),
            Part::StageVariable("x".into()),
            Part::Literal("b ".into()),
            Part::Context(Variable::Status),
            Part::Literal(".".into()),
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn unknown_names_are_told_with_their_place_and_dollars_are_just_text() {
        let (_, unknown) = literal_of("x $context.requestID y");
        assert_eq!(
            unknown,
            [Unknown {
                reference: "$context.requestID".into(),
                at: 2
            }]
        );
        let (parts, unknown) = literal_of("costs $5 or $price");
        assert_eq!(
            (parts, unknown),
            (vec![Part::Literal("costs $5 or $price".into())], vec![])
        );
    }

    #[test]
    fn what_a_configuration_says_stays_between_its_quotes() {
        let address = ([192, 0, 2, 1], 4000).into();
        let peer = Peer::new(address, address, None, Serves::Apis);
        let mut context = Context::open(Arc::new(peer), RequestHead::unreadable());
        context.site = Some(Arc::new(Site {
            account_id: "1\"2\n".into(),
            ..Site::default()
        }));
        let mut line = Vec::new();
        let (template, _) = Template::compile(r#"{"account":"$context.accountId"}"#);
        template.render(&context, Escape::Log, &mut line);
        assert_eq!(line, br#"{"account":"1\"2\n"}"#);
    }

    #[test]
    fn vtl_is_told_apart_from_text() {
        for (text, found) in [
            ("#set($x = 1)", Some("#set")),
            ("{\"a\": $input.json('$')}", Some("$input")),
            ("$!{util.escapeJavaScript(1)}", Some("$!{util")),
            ("#foreach($i in $x)", Some("#foreach")),
            ("$x", Some("$x")),
            (
                "{\"id\": \"$context.requestId\", \"price\": \"$5\", \"tag\": \"#1\"}",
                None,
            ),
            ("${stageVariables.name}", None),
        ] {
            assert_eq!(Template::directive(text), found, "{text}");
        }
    }
}
