//! A trie of path segments.
//!
//! A literal segment beats `{param}`, which beats `{proxy+}`; a node matches only if it has the request's method or ANY,
//! so that method and path are decided together (recorded on AWS: with POST on `/test` and ANY on `/{proxy+}`,
//! `OPTIONS /test` goes to `/{proxy+}`). Paths are matched raw; one trailing slash doesn't matter.

use std::ops::Range;

use http::Method;
use smallvec::SmallVec;

use crate::config::model::Verb;

/// Where path parameters stand in a path.
pub type Places = SmallVec<[Range<u32>; 4]>;

/// A trie; values are the caller's indices.
#[derive(Debug, Default)]
pub struct Trie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// Literal children, sorted by segment.
    literals: Vec<(Box<str>, Node)>,
    /// The child for any one segment.
    variable: Option<Box<Node>>,
    /// What takes the rest of the path, of at least one character.
    greedy: Leaf,
    /// What the path to here is itself.
    own: Leaf,
}

/// The methods of a resource.
#[derive(Debug, Default)]
struct Leaf {
    any: Option<usize>,
    only: Vec<(Method, usize)>,
}

impl Leaf {
    fn insert(&mut self, verb: &Verb, index: usize) {
        match verb {
            Verb::Any => self.any = Some(index),
            Verb::Only(method) => self.only.push((method.clone(), index)),
        }
    }

    fn find(&self, method: &Method) -> Option<usize> {
        let exact = self
            .only
            .iter()
            .find(|(only, _)| only == method)
            .map(|(_, index)| *index);
        exact.or_else(|| self.any.filter(|_| is_of_any(method)))
    }
}

/// Whether ANY takes this method: all but TRACE, CONNECT and unknown ones.
pub fn is_of_any(method: &Method) -> bool {
    [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
        Method::HEAD,
    ]
    .contains(method)
}

impl Trie {
    /// Adds a method of a resource. The template must be valid, with one variable child per resource.
    pub fn insert(&mut self, template: &str, verb: &Verb, index: usize) {
        let mut node = &mut self.root;
        for segment in template.split('/').filter(|segment| !segment.is_empty()) {
            if segment.starts_with('{') && segment.ends_with("+}") {
                node.greedy.insert(verb, index);
                return;
            }
            node = if segment.starts_with('{') {
                node.variable.get_or_insert_default()
            } else {
                node.literal(segment)
            };
        }
        node.own.insert(verb, index);
    }

    /// The best match for `path` behind its first `base` bytes, and where its parameters stand in `path`.
    pub fn find(&self, method: &Method, path: &str, base: usize) -> Option<(usize, Places)> {
        let (from, to) = bounds(path, base);
        let mut places = Places::new();
        let index = if from == to {
            self.root.own.find(method)?
        } else {
            self.root.find(method, path, from, to, &mut places)?
        };
        Some((index, places))
    }
}

/// The part of a path that is matched: without leading slashes and without one trailing slash.
fn bounds(path: &str, base: usize) -> (usize, usize) {
    let rest = path.get(base..).unwrap_or_default();
    let from = path.len() - rest.trim_start_matches('/').len();
    let to = path.strip_suffix('/').map_or(path.len(), str::len);
    (from, to.max(from))
}

impl Node {
    fn literal(&mut self, segment: &str) -> &mut Node {
        let at = self.literals.partition_point(|(name, _)| **name < *segment);
        if self
            .literals
            .get(at)
            .is_none_or(|(name, _)| **name != *segment)
        {
            self.literals.insert(at, (segment.into(), Node::default()));
        }
        #[expect(
            clippy::indexing_slicing,
            reason = "the entry was found or just inserted at this place"
        )]
        &mut self.literals[at].1
    }

    /// Matches the segments of `path[from..to]`, of which there is at least one.
    fn find(
        &self,
        method: &Method,
        path: &str,
        from: usize,
        to: usize,
        places: &mut Places,
    ) -> Option<usize> {
        let rest = path.get(from..to).unwrap_or_default();
        let slash = rest.bytes().position(|byte| byte == b'/');
        let end = slash.map_or(to, |slash| from + slash);
        let segment = path.get(from..end).unwrap_or_default();
        let literal = self
            .literals
            .binary_search_by(|(name, _)| (**name).cmp(segment))
            .ok();
        if let Some((_, child)) = literal.and_then(|at| self.literals.get(at))
            && let Some(index) = child.find_behind(method, path, end, to, places)
        {
            return Some(index);
        }
        if let Some(child) = self.variable.as_ref().filter(|_| !segment.is_empty()) {
            places.push(from as u32..end as u32);
            if let Some(index) = child.find_behind(method, path, end, to, places) {
                return Some(index);
            }
            places.pop();
        }
        if rest.is_empty() {
            return None;
        }
        let index = self.greedy.find(method)?;
        places.push(from as u32..to as u32);
        Some(index)
    }

    /// Matches what is behind the segment that ended at `end`.
    fn find_behind(
        &self,
        method: &Method,
        path: &str,
        end: usize,
        to: usize,
        places: &mut Places,
    ) -> Option<usize> {
        if end == to {
            self.own.find(method)
        } else {
            self.find(method, path, end + 1, to, places)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trie(routes: &[&str]) -> Trie {
        let mut trie = Trie::default();
        for (index, route) in routes.iter().enumerate() {
            let (verb, path) = route.split_once(' ').unwrap();
            let verb = if verb == "ANY" {
                Verb::Any
            } else {
                Verb::Only(verb.parse().unwrap())
            };
            trie.insert(path, &verb, index);
        }
        trie
    }

    /// The winner's template and the values of its parameters.
    fn find<'a>(routes: &[&'a str], request: &str) -> Option<(&'a str, Vec<String>)> {
        let (method, path) = request.split_once(' ').unwrap();
        let (index, places) = trie(routes).find(&method.parse().unwrap(), path, 0)?;
        let values = places
            .iter()
            .map(|place| path[place.start as usize..place.end as usize].to_owned());
        Some((routes[index], values.collect()))
    }

    fn winner(routes: &[&'static str], request: &str) -> Option<&'static str> {
        find(routes, request).map(|(route, _)| route)
    }

    #[test]
    fn literal_beats_param_beats_greedy() {
        let routes = ["GET /a/b", "GET /a/{id}", "GET /{proxy+}"];
        assert_eq!(winner(&routes, "GET /a/b"), Some("GET /a/b"));
        assert_eq!(
            find(&routes, "GET /a/c"),
            Some(("GET /a/{id}", vec!["c".into()]))
        );
        assert_eq!(
            find(&routes, "GET /a/c/d"),
            Some(("GET /{proxy+}", vec!["a/c/d".into()]))
        );
        assert_eq!(winner(&routes, "GET /"), None);
    }

    #[test]
    fn options_falls_through_to_a_greedy_sibling() {
        let routes = ["POST /test", "ANY /{proxy+}"];
        assert_eq!(winner(&routes, "OPTIONS /test"), Some("ANY /{proxy+}"));
        assert_eq!(winner(&routes, "POST /test"), Some("POST /test"));
        assert_eq!(
            winner(&["ANY /test", "GET /{proxy+}"], "GET /test"),
            Some("ANY /test")
        );
    }

    #[test]
    fn a_literal_prefix_without_the_child_falls_back_from_any_depth() {
        let routes = ["GET /a/{x}/c", "GET /a/b/d", "GET /{proxy+}"];
        assert_eq!(
            find(&routes, "GET /a/b/c"),
            Some(("GET /a/{x}/c", vec!["b".into()]))
        );
        assert_eq!(winner(&routes, "GET /a/b/e"), Some("GET /{proxy+}"));
    }

    #[test]
    fn head_is_not_get_and_any_is_not_everything() {
        assert_eq!(winner(&["GET /a"], "HEAD /a"), None);
        assert_eq!(winner(&["ANY /a"], "HEAD /a"), Some("ANY /a"));
        assert_eq!(winner(&["ANY /a"], "TRACE /a"), None);
        assert_eq!(winner(&["ANY /a"], "PROPFIND /a"), None);
        assert_eq!(winner(&["ANY /a", "GET /a"], "GET /a"), Some("GET /a"));
    }

    #[test]
    fn slashes_follow_what_was_recorded() {
        let routes = ["GET /{proxy+}", "GET /", "GET /a/{id}"];
        assert_eq!(
            find(&routes, "GET /proxy-value/"),
            Some(("GET /{proxy+}", vec!["proxy-value".into()]))
        );
        assert_eq!(
            find(&routes, "GET /v//double"),
            Some(("GET /{proxy+}", vec!["v//double".into()]))
        );
        assert_eq!(
            find(&routes, "GET //x"),
            Some(("GET /{proxy+}", vec!["x".into()]))
        );
        assert_eq!(winner(&routes, "GET /"), Some("GET /"));
        assert_eq!(
            find(&routes, "GET /a//"),
            Some(("GET /{proxy+}", vec!["a/".into()]))
        );
        assert_eq!(
            find(&routes, "GET /a/%2F"),
            Some(("GET /a/{id}", vec!["%2F".into()]))
        );
    }

    #[test]
    fn a_base_path_is_skipped() {
        let trie = trie(&["GET /a/{id}", "GET /"]);
        let (index, places) = trie.find(&Method::GET, "/prod/a/7", 5).unwrap();
        assert_eq!((index, places.first()), (0, Some(&(8..9))));
        assert_eq!(
            trie.find(&Method::GET, "/prod", 5).map(|(index, _)| index),
            Some(1)
        );
        assert_eq!(
            trie.find(&Method::GET, "/prod/", 5).map(|(index, _)| index),
            Some(1)
        );
    }
}
