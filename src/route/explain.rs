//! Why a request is answered by the route that answers it.

use http::Method;

use super::{Found, Router, trie::is_of_any};
use crate::config::model::{Api, Verb};

/// A resource that fits the path, and whether it takes the request.
#[derive(Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The resource's template.
    pub template: String,
    /// The verbs it has.
    pub verbs: Vec<String>,
    /// What it is to the request.
    pub verdict: Verdict,
}

/// What a candidate is to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers.
    Wins,
    /// It fits the path but hasn't the method.
    NoMethod,
    /// It would answer if a more precise resource didn't.
    Beaten,
}

/// The resources of an API that fit a path, the most precise first, with the verdict on each.
pub fn candidates(
    api: &Api,
    router: &Router,
    authority: &str,
    method: &Method,
    path: &str,
) -> Vec<Candidate> {
    let Found::Method { method: winner, .. } = router.find(authority, method, path) else {
        return fitting(api, path)
            .into_iter()
            .map(|template| candidate(api, template, None, method))
            .collect();
    };
    let winner = api.methods.get(winner).map(|method| &*method.resource.path);
    fitting(api, path)
        .into_iter()
        .map(|template| candidate(api, template, winner, method))
        .collect()
}

fn candidate(api: &Api, template: &str, winner: Option<&str>, method: &Method) -> Candidate {
    let own: Vec<&Verb> = api
        .methods
        .iter()
        .filter(|it| &*it.resource.path == template)
        .map(|it| &it.verb)
        .collect();
    let takes = own.iter().any(|verb| match verb {
        Verb::Any => is_of_any(method),
        Verb::Only(only) => only == method,
    });
    let verdict = match (winner == Some(template), takes) {
        (true, _) => Verdict::Wins,
        (false, true) => Verdict::Beaten,
        (false, false) => Verdict::NoMethod,
    };
    Candidate {
        template: template.to_owned(),
        verbs: own.iter().map(|verb| verb.as_str().to_owned()).collect(),
        verdict,
    }
}

/// Templates that fit a path whatever the method, in order of precedence.
fn fitting<'a>(api: &'a Api, path: &str) -> Vec<&'a str> {
    let base = api.site.base_path.len();
    let rest = path.trim_start_matches('/');
    let rest = format!("/{rest}");
    let rest = rest.get(base..).unwrap_or_default().trim_start_matches('/');
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let segments: Vec<&str> = if rest.is_empty() {
        Vec::new()
    } else {
        rest.split('/').collect()
    };
    let mut templates: Vec<&str> = api
        .methods
        .iter()
        .map(|method| &*method.resource.path)
        .collect();
    templates.sort_unstable();
    templates.dedup();
    let mut fitting: Vec<(Vec<u8>, &str)> = templates
        .into_iter()
        .filter_map(|template| Some((fit(template, &segments)?, template)))
        .collect();
    fitting.sort();
    fitting.into_iter().map(|(_, template)| template).collect()
}

/// How a template fits segments: for each segment 0 literal, 1 variable, 2 greedy. `None` if it doesn't.
fn fit(template: &str, segments: &[&str]) -> Option<Vec<u8>> {
    let mut ranks = Vec::new();
    let mut rest = segments;
    for part in template.split('/').filter(|part| !part.is_empty()) {
        let (segment, behind) = rest.split_first()?;
        if part.ends_with("+}") {
            ranks.push(2);
            return Some(ranks);
        }
        let is_variable = part.starts_with('{');
        if !(is_variable && !segment.is_empty() || part == *segment) {
            return None;
        }
        ranks.push(u8::from(is_variable));
        rest = behind;
    }
    rest.is_empty().then_some(ranks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_fit_in_order_of_precedence() {
        let segments = ["a", "b"];
        assert_eq!(fit("/a/b", &segments), Some(vec![0, 0]));
        assert_eq!(fit("/a/{id}", &segments), Some(vec![0, 1]));
        assert_eq!(fit("/{proxy+}", &segments), Some(vec![2]));
        assert_eq!(fit("/a", &segments), None);
        assert_eq!(fit("/a/b/c", &segments), None);
    }
}
