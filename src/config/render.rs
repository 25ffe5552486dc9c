//! Findings as people read them: the line, a mark under the place, a hint.

use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};

use super::{
    codes::Severity,
    diagnostics::{Diagnostic, Diagnostics, Place},
};

/// All findings as text; colours only where `colour` says a terminal shows them.
pub fn render(diagnostics: &Diagnostics, colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = String::new();
    for diagnostic in diagnostics.sorted() {
        let source = diagnostics.text(&diagnostic.file).map_or("", |text| text);
        text.push_str(&one(&renderer, diagnostic, source));
        text.push_str("\n\n");
    }
    text
}

/// The errors without anything that stands in the files, secrets maybe among it: their codes and places, and what each code
/// is about. Sentences of findings quote values, too.
pub fn outline(diagnostics: &Diagnostics) -> String {
    let errors = diagnostics.sorted().into_iter();
    let errors = errors.filter(|it| it.code.severity() != Severity::Warning);
    errors.map(line).collect()
}

fn line(diagnostic: &Diagnostic) -> String {
    let (code, file) = (diagnostic.code, &diagnostic.file);
    let place = diagnostic.place.as_ref();
    let place = place.map_or(String::new(), |at| format!(":{}:{}", at.line, at.column));
    format!("{} {file}{place}: {}\n", code.as_str(), code.summary())
}

fn one(renderer: &Renderer, diagnostic: &Diagnostic, source: &str) -> String {
    let level = match diagnostic.code.severity() {
        Severity::Warning => Level::WARNING,
        Severity::MethodError | Severity::Error => Level::ERROR,
    };
    let mut group = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code.as_str())
        .element(place(diagnostic, source));
    let names_it = |method: &&String| diagnostic.message.contains(&format!("`{method}`"));
    if let Some(method) = diagnostic
        .method
        .as_ref()
        .filter(|method| !names_it(method))
    {
        group = group.element(Level::NOTE.message(format!("this concerns `{method}`")));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    renderer.render(&[group])
}

fn place<'a>(diagnostic: &'a Diagnostic, source: &'a str) -> Element<'a> {
    let Some(place) = &diagnostic.place else {
        return Origin::path(&*diagnostic.file).into();
    };
    let (line, span) = excerpt(source, place);
    let annotation = AnnotationKind::Primary.span(span);
    let annotation = if diagnostic.label.is_empty() {
        annotation
    } else {
        annotation.label(&*diagnostic.label)
    };
    Snippet::source(line)
        .path(&*diagnostic.file)
        .line_start(place.line)
        .annotation(annotation)
        .into()
}

/// The line of a place, and where in the line it is. A place of several lines is shown by its first.
fn excerpt<'a>(source: &'a str, place: &Place) -> (&'a str, std::ops::Range<usize>) {
    let start = source
        .get(..place.span.start)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |at| at + 1);
    let line = source
        .get(start..)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default();
    let from = place.span.start - start;
    let to = (place.span.end - start).clamp(from, line.trim_end().len().max(from));
    (line, from..to)
}
