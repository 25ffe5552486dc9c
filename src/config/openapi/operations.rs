//! A document's resources and methods, checked against the rules that API Gateway has for path templates.

use std::collections::{HashMap, HashSet};

use http::Method;

use crate::{
    config::{
        codes::Code,
        diagnostics::{Diagnostic, Diagnostics},
        document::file::Cursor,
        model::Verb,
        suggest::nearest,
    },
    types::site::Resource,
};

/// A method of a resource, as the document has it.
#[derive(Debug)]
pub struct Operation<'a> {
    /// Which requests it takes.
    pub verb: Verb,
    /// The resource's facts.
    pub resource: Resource,
    /// The path's mapping.
    pub item: Cursor<'a>,
    /// The operation's mapping.
    pub operation: Cursor<'a>,
}

impl Operation<'_> {
    /// The method and path, as findings name them.
    pub fn name(&self) -> String {
        format!("{} {}", self.verb.as_str(), self.resource.path)
    }
}

const METHODS: [(&str, Method); 7] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("options", Method::OPTIONS),
    ("head", Method::HEAD),
    ("patch", Method::PATCH),
];

/// All operations whose resources can be routed.
pub fn operations<'a>(
    root: &Cursor<'a>,
    prefix: &str,
    diagnostics: &mut Diagnostics,
) -> Vec<Operation<'a>> {
    let mut found = Vec::new();
    let mut siblings = Siblings::default();
    let Some(paths) = root.get("paths") else {
        let finding = root.report_key(
            Code::W109,
            "the document has no `paths`, so nothing is served",
        );
        diagnostics.push(finding);
        return found;
    };
    let mut seen = HashSet::new();
    for (path, item) in paths.members().filter(|(path, _)| !path.starts_with("x-")) {
        let Some(item) = follow_item(item, diagnostics) else {
            continue;
        };
        let path = normal(&format!("{prefix}{path}"));
        if !is_valid(&path, &item, diagnostics) || !siblings.admit(&path, &item, diagnostics) {
            continue;
        }
        for (verb, operation) in verbs(&item, diagnostics) {
            let resource = Resource {
                id: id_of(&path),
                path: path.as_str().into(),
                parameters: parameters(&path).map(Into::into).collect(),
                operation_name: operation
                    .get("operationId")
                    .and_then(|id| id.scalar())
                    .map(Into::into),
            };
            let operation = Operation {
                verb,
                resource,
                item: item.clone(),
                operation,
            };
            if seen.insert((operation.verb.clone(), path.clone())) {
                found.push(operation);
            } else {
                let name = operation.name();
                let message = format!(
                    "`{name}` is there twice, since a `/` at the end of a path makes no difference"
                );
                let finding = operation
                    .operation
                    .report_key(Code::E028, message)
                    .label("not served");
                diagnostics.push(
                    finding
                        .hint("remove one of them: the first one is served")
                        .of_method(Some(&name)),
                );
            }
        }
    }
    found
}

/// A path item may be a reference inside the document.
fn follow_item<'a>(item: Cursor<'a>, diagnostics: &mut Diagnostics) -> Option<Cursor<'a>> {
    let Some(reference) = item.get("$ref") else {
        return Some(item);
    };
    follow(&reference, None, diagnostics)
}

/// What a `$ref` names. References to other files aren't followed, as on API Gateway.
pub fn follow<'a>(
    reference: &Cursor<'a>,
    method: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> Option<Cursor<'a>> {
    let mut at = reference.clone();
    for _ in 0..8 {
        let text = at.str().unwrap_or_default();
        let Some(target) = at.follow(text) else {
            diagnostics.push(dead_end(&at, text).of_method(method));
            return None;
        };
        match target.get("$ref") {
            None => return Some(target),
            Some(next) => at = next,
        }
    }
    let message = "the reference leads to references without an end";
    let finding = reference.report(Code::E024, message).of_method(method);
    diagnostics.push(finding.hint("one of them refers back: let one hold the value itself"));
    None
}

fn dead_end(at: &Cursor<'_>, text: &str) -> Diagnostic {
    let finding = |why: &str| {
        at.report(
            Code::E024,
            format!("the reference `{text}` can't be followed: {why}"),
        )
    };
    if !text.starts_with('#') {
        return finding("it points outside the document").hint(
            "API Gateway follows references inside the document only: bundle the files into one",
        );
    }
    let finding = finding("nothing stands there");
    let (parent, name) = text.rsplit_once('/').unwrap_or_default();
    let siblings = at.follow(parent);
    let siblings = siblings
        .iter()
        .flat_map(Cursor::members)
        .map(|(sibling, _)| sibling);
    match nearest(name, siblings) {
        Some(meant) => finding.hint(format!("did you mean `{parent}/{meant}`?")),
        None => finding.hint("within a name, write `~1` for `/`"),
    }
}

fn verbs<'a>(item: &Cursor<'a>, diagnostics: &mut Diagnostics) -> Vec<(Verb, Cursor<'a>)> {
    let mut verbs = Vec::new();
    for (key, operation) in item.members() {
        if let Some((_, method)) = METHODS.iter().find(|(name, _)| *name == key) {
            verbs.push((Verb::Only(method.clone()), operation));
        } else if key == "x-amazon-apigateway-any-method" {
            verbs.push((Verb::Any, operation));
        } else if METHODS
            .iter()
            .any(|(name, _)| key.eq_ignore_ascii_case(name))
        {
            let message = format!("`{key}` isn't a method: in OpenAPI methods are in lower case");
            let finding = operation.report_key(Code::W122, message).label("left out");
            diagnostics.push(finding.hint(format!("write `{}`", key.to_ascii_lowercase())));
        } else if key == "trace" {
            let finding = operation.report_key(
                Code::W122,
                "API Gateway has no TRACE method: it is left out",
            );
            diagnostics.push(finding.label("left out"));
        }
    }
    verbs
}

/// Without a trailing slash, which doesn't matter for matching; `/` for the root.
fn normal(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        "/".to_owned()
    } else {
        trimmed.to_owned()
    }
}

/// The names of a template's variables.
pub fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| name.trim_end_matches('+'))
}

/// An id that stays the same as long as the path does, in the form of AWS's.
fn id_of(path: &str) -> Box<str> {
    short_id(path, 6)
}

/// A lower-case id of so many letters and digits, made from `text` (FNV-1a).
pub fn short_id(text: &str, length: usize) -> Box<str> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let digit = |step: usize| {
        let value = hash
            .rotate_left(step as u32 * 13)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 32;
        char::from_digit((value % 36) as u32, 36).unwrap_or('0')
    };
    (0..length).map(digit).collect::<String>().into()
}

fn is_valid(path: &str, item: &Cursor<'_>, diagnostics: &mut Diagnostics) -> bool {
    let Err(why) = check_path(path) else {
        return true;
    };
    let finding = item.report_key(
        Code::E026,
        format!("API Gateway rejects the path `{path}`: {why}"),
    );
    diagnostics.push(finding.label("not served").hint(
        "a segment is a literal, `{name}` for one segment, or, at the end, `{name+}` for the rest of the path",
    ));
    false
}

fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("it doesn't begin with `/`".to_owned());
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut names = HashSet::new();
    for (at, segment) in segments.iter().enumerate() {
        let Some(name) = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
        else {
            if segment.contains(['{', '}']) {
                return Err(format!(
                    "in `{segment}` the parameter isn't the whole segment"
                ));
            }
            let bad = segment
                .chars()
                .find(|c| !(c.is_ascii_alphanumeric() || "_-.,:".contains(*c)));
            match bad {
                Some(character) => {
                    return Err(format!(
                        "`{character}` can't stand in a path, only letters, digits and `_-.,:`"
                    ));
                }
                None if segment.is_empty() && segments.len() > 1 => {
                    return Err("it has an empty segment".to_owned());
                }
                None => continue,
            }
        };
        let is_last = at + 1 == segments.len();
        let bare = name.strip_suffix('+').unwrap_or(name);
        if bare.is_empty()
            || !bare
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
        {
            return Err(format!("`{segment}` isn't a valid parameter"));
        }
        if name.ends_with('+') && !is_last {
            return Err(format!(
                "`{segment}` takes the rest of the path, so nothing can follow it"
            ));
        }
        if !names.insert(bare) {
            return Err(format!("the parameter `{bare}` is there twice"));
        }
    }
    Ok(())
}

/// Which variable each resource has for a child: AWS allows one.
#[derive(Default)]
struct Siblings {
    variables: HashMap<String, String>,
}

impl Siblings {
    fn admit(&mut self, path: &str, item: &Cursor<'_>, diagnostics: &mut Diagnostics) -> bool {
        let mut parent = String::new();
        for segment in path.split('/').skip(1) {
            if segment.starts_with('{') {
                let known = self
                    .variables
                    .entry(parent.clone())
                    .or_insert_with(|| segment.to_owned());
                if known != segment {
                    let place = if parent.is_empty() { "/" } else { &parent };
                    let message = format!(
                        "`{place}` already has the variable child `{known}`, so `{segment}` can't be another"
                    );
                    let finding = item.report_key(Code::E027, message).label("not served");
                    diagnostics.push(finding.hint(if segment.ends_with("+}") || known.ends_with("+}") {
                        "API Gateway allows one variable child per resource, `{name}` or `{name+}`: move one of them under a path of its own"
                    } else {
                        "API Gateway allows one variable child per resource: use one name for it"
                    }));
                    return false;
                }
            }
            parent = format!("{parent}/{segment}");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_aws_rules() {
        for good in [
            "/",
            "/a",
            "/a/{id}",
            "/a/{id}/b",
            "/{proxy+}",
            "/a.b/c-d_e",
            "/v1:batch",
        ] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in [
            "a",
            "/a{id}",
            "/{id}.json",
            "/{a}-{b}",
            "/{proxy+}/x",
            "/{}",
            "/a//b",
            "/a b",
            "/{a}/{a}",
            "/{a/b}",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_stable_and_short() {
        assert_eq!(short_id("/pets", 6), short_id("/pets", 6));
        assert_ne!(short_id("/pets", 6), short_id("/pet", 6));
        assert!(
            short_id("/pets", 10)
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
    }
}
