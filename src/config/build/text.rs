//! Values of a document as text: CloudFormation's functions resolved, templates compiled, header values read.

use super::api::Source;
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::file::Cursor,
        intrinsics::{fill_stage_variables, is_intrinsic, resolve},
        mapping::{self, parse_source},
        suggest::nearest,
    },
    types::{fields::is_token, template::Template, variable::Variable},
};

/// For values that can't be resolved.
pub(super) const KNOWN_FUNCTIONS: &str =
    "known are `Ref`, `Fn::GetAtt`, `Fn::Sub`, `Fn::Join` and `Fn::ImportValue`";

/// Whom findings about a text concern.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source<'a>,
    /// The method, as findings name it; `None` for what belongs to the whole API.
    pub(super) method: Option<&'a str>,
}

impl Reader<'_> {
    /// The text of a value, which findings call `name`. `Err` if it has none: the finding is made.
    pub(super) fn text(
        &self,
        value: &Cursor<'_>,
        name: &str,
        diagnostics: &mut Diagnostics,
    ) -> Result<String, ()> {
        let Some(resolved) = resolve(value.value, self.source.bindings()) else {
            let message = format!("{name} can't be turned into text");
            let finding = value.report(Code::E025, message).hint(KNOWN_FUNCTIONS);
            diagnostics.push(finding.of_method(self.method));
            return Err(());
        };
        if resolved.unbound.is_empty() {
            return Ok(resolved.text);
        }
        let names: Vec<String> = resolved
            .unbound
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let (have, them) = if names.len() == 1 {
            ("has", "it")
        } else {
            ("have", "them")
        };
        let message = format!(
            "{name} refers to {}, which {have} no binding",
            names.join(" and ")
        );
        let pairs: Vec<String> = resolved
            .unbound
            .iter()
            .map(|name| format!("\"{name}\": …"))
            .collect();
        let finding = value.report(Code::E025, message).hint(format!(
            "give {them} a value in sluicegate.yaml, under the API: `bindings: {{ {} }}`",
            pairs.join(", ")
        ));
        diagnostics.push(finding.of_method(self.method));
        Err(())
    }

    /// `text` with its stage variables. Those without a value become empty, as on AWS, and are told.
    pub(super) fn filled(
        &self,
        text: &str,
        at: &Cursor<'_>,
        key: &str,
        diagnostics: &mut Diagnostics,
    ) -> String {
        let (text, missing) = fill_stage_variables(text, |name| self.source.stage_variable(name));
        for name in missing {
            self.tell_missing(&name, at, key, diagnostics);
        }
        text
    }

    /// The source of a mapping. `Err` if it can't be read: the finding is made, with `forms` as its hint.
    pub(super) fn mapping(
        &self,
        value: &Cursor<'_>,
        text: &str,
        (code, forms): (Code, &str),
        diagnostics: &mut Diagnostics,
    ) -> Result<mapping::Source, ()> {
        let missing = std::cell::RefCell::new(None);
        let parsed = parse_source(text, |name| {
            let known = self.source.stage_variable(name);
            missing.replace(known.is_none().then(|| name.to_owned()));
            known
        });
        if let Some(name) = missing.take() {
            self.tell_missing(&name, value, "the mapping", diagnostics);
        }
        let finding = match parsed {
            Ok(parsed) => return Ok(parsed),
            Err(mapping::SourceFault::Form) => {
                let finding = value.report(
                    code,
                    format!("`{text}` can't be read as the source of a value"),
                );
                let is_bare = text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b" -_*/,;=".contains(&byte));
                if is_bare && !text.is_empty() {
                    finding.hint(format!(
                        "put static text in quotes of its own: \"'{text}'\""
                    ))
                } else {
                    finding.hint(forms)
                }
            }
            Err(mapping::SourceFault::Context(name)) => {
                let finding = value.report(code, format!("there is no context variable `{name}`"));
                match nearest(&name, Variable::names()) {
                    Some(meant) => finding.hint(format!("did you mean `context.{meant}`?")),
                    None => finding.hint("docs/configuration.md lists the variables"),
                }
            }
        };
        diagnostics.push(finding.of_method(self.method));
        Err(())
    }

    fn tell_missing(&self, name: &str, at: &Cursor<'_>, key: &str, diagnostics: &mut Diagnostics) {
        let message =
            format!("the stage variable `{name}` has no value: it is empty in {key}, as on AWS");
        let hint = format!(
            "give it one in sluicegate.yaml, under the API: `stageVariables: {{ {name}: … }}`"
        );
        diagnostics.push(
            at.report(Code::W116, message)
                .hint(hint)
                .of_method(self.method),
        );
    }

    /// Headers of a response, from `responseParameters` whose keys begin with `prefix`.
    pub(super) fn headers(
        &self,
        said: &Cursor<'_>,
        prefix: &str,
        (code, forms): (Code, &str),
        accepts: impl Fn(&mapping::Source) -> bool,
        diagnostics: &mut Diagnostics,
    ) -> Vec<(Box<str>, mapping::Source)> {
        let mut headers = Vec::new();
        for (target, value) in said
            .get("responseParameters")
            .iter()
            .flat_map(Cursor::members)
        {
            let name = target
                .strip_prefix(prefix)
                .filter(|name| is_token(name.as_bytes()));
            let Some(name) = name else {
                let finding =
                    value.report_key(code, format!("`{target}` can't be set in a response"));
                let finding = finding.label(format!("expected `{prefix}NAME`"));
                diagnostics.push(finding.of_method(self.method));
                continue;
            };
            let Ok(text) = self.text(&value, &format!("`{target}`"), diagnostics) else {
                continue;
            };
            // What would come from an integration's answer is absent where there is none.
            if text.starts_with("integration.response.") {
                headers.push((name.into(), mapping::Source::Absent));
                continue;
            }
            let Ok(parsed) = self.mapping(&value, &text, (code, forms), diagnostics) else {
                continue;
            };
            if accepts(&parsed) {
                headers.push((name.into(), parsed));
            } else {
                let finding = value.report(
                    code,
                    format!("`{text}` can't be the value of a response's header"),
                );
                diagnostics.push(finding.hint(forms).of_method(self.method));
            }
        }
        headers
    }

    /// Templates by content type. `None` if one of them can't be used; the findings are made.
    pub(super) fn templates(
        &self,
        said: Option<&Cursor<'_>>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Vec<(Box<str>, Template)>> {
        let mut compiled = Vec::new();
        let mut is_usable = true;
        for (content_type, value) in said.into_iter().flat_map(Cursor::members) {
            match self.template(&value, diagnostics) {
                Ok(template) => compiled.push((content_type.to_ascii_lowercase().into(), template)),
                Err(()) => is_usable = false,
            }
        }
        is_usable.then_some(compiled)
    }

    fn template(&self, value: &Cursor<'_>, diagnostics: &mut Diagnostics) -> Result<Template, ()> {
        // Only CloudFormation's functions are resolved: `${…}` in plain text is the template's own.
        let text = match value.scalar() {
            Some(text) => text,
            None if is_intrinsic(value.value) => self.text(value, "the template", diagnostics)?,
            None => {
                let finding =
                    value.report(Code::E045, "a template is text, not a mapping or a list");
                let hint =
                    "put it in quotes or a block: `application/json: '{\"statusCode\": 200}'`";
                diagnostics.push(finding.hint(hint).of_method(self.method));
                return Err(());
            }
        };
        if let Some(directive) = Template::directive(&text) {
            let message = format!("this template needs VTL (`{directive}`), which isn't supported");
            let hint = "a template may hold text, `$context.…`, `$stageVariables.…` and `$method.request.…`";
            let finding = value.report_part(Code::E039, directive, message).hint(hint);
            diagnostics.push(finding.of_method(self.method));
            return Err(());
        }
        let (template, unknown) = Template::compile(&text);
        for reference in unknown {
            diagnostics.push(unknown_variable(value, &reference.reference).of_method(self.method));
        }
        Ok(template)
    }
}

/// The finding about a name in a template that stands for nothing.
pub(super) fn unknown_variable(
    value: &Cursor<'_>,
    reference: &str,
) -> crate::config::diagnostics::Diagnostic {
    let message = format!("`{reference}` isn't a variable: nothing stands for it");
    let finding = value.report_part(Code::W118, reference, message);
    let name = reference
        .trim_start_matches(['$', '{'])
        .trim_start_matches("context.")
        .trim_end_matches('}');
    match nearest(name, Variable::names()) {
        Some(meant) => finding.hint(format!("did you mean `$context.{meant}`?")),
        None => finding.hint("docs/configuration.md lists the variables"),
    }
}
