//! The trie of routes against a list that is searched from the best match to the worst.

#![no_main]

use std::collections::HashSet;

use http::Method;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use sluicegate::{config::model::Verb, route::trie::Trie};

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Segment {
    A,
    B,
    Dotted,
    Escaped,
    Variable,
}

#[derive(Arbitrary, Clone, Debug, PartialEq, Eq, Hash)]
struct Route {
    verb: u8,
    segments: Vec<Segment>,
    is_greedy: bool,
}

#[derive(Arbitrary, Debug)]
struct Input {
    routes: Vec<Route>,
    method: u8,
    /// What the path is made of.
    path: Vec<u8>,
    base: Option<bool>,
}

const METHODS: [Method; 4] = [Method::GET, Method::POST, Method::OPTIONS, Method::TRACE];
const PARTS: [&str; 8] = ["/", "/", "a", "b", "/a", "/b", "%2F", "a.b"];

fn method(number: u8) -> Method {
    METHODS[usize::from(number) % METHODS.len()].clone()
}

impl Segment {
    fn literal(self) -> Option<&'static str> {
        match self {
            Segment::A => Some("a"),
            Segment::B => Some("b"),
            Segment::Dotted => Some("a.b"),
            Segment::Escaped => Some("%2F"),
            Segment::Variable => None,
        }
    }
}

impl Route {
    fn verb(&self) -> Verb {
        match self.verb % 5 {
            4 => Verb::Any,
            number => Verb::Only(method(number)),
        }
    }

    fn template(&self) -> String {
        let mut template = String::new();
        for segment in &self.segments {
            template = format!("{template}/{}", segment.literal().unwrap_or("{v}"));
        }
        match (self.is_greedy, template.is_empty()) {
            (true, _) => template + "/{rest+}",
            (false, true) => "/".to_owned(),
            (false, false) => template,
        }
    }

    /// How well it fits, most important first, and the values of its parameters.
    fn fit<'a>(&self, asked: &Method, path: &'a str) -> Option<(Vec<u8>, Vec<&'a str>)> {
        let (mut rank, mut values) = (Vec::new(), Vec::new());
        let mut rest = Some(path).filter(|path| !path.is_empty());
        for segment in &self.segments {
            let (first, behind) = match rest?.split_once('/') {
                Some((first, behind)) => (first, Some(behind)),
                None => (rest?, None),
            };
            match segment.literal() {
                Some(literal) if literal == first => rank.push(0),
                None if !first.is_empty() => {
                    rank.push(1);
                    values.push(first);
                }
                _ => return None,
            }
            rest = behind;
        }
        if self.is_greedy {
            values.push(rest.filter(|rest| !rest.is_empty())?);
            rank.push(2);
            rest = None;
        }
        let is_any = match self.verb() {
            Verb::Any if *asked != Method::TRACE => true,
            Verb::Only(only) if only == *asked => false,
            _ => return None,
        };
        rank.push(u8::from(is_any));
        rest.is_none().then_some((rank, values))
    }
}

fuzz_target!(|input: Input| {
    let mut seen = HashSet::new();
    let is_new = |route: &&Route| seen.insert((route.verb(), route.template()));
    let routes: Vec<&Route> = input.routes.iter().filter(is_new).collect();
    let mut trie = Trie::default();
    for (index, route) in routes.iter().enumerate() {
        trie.insert(&route.template(), &route.verb(), index);
    }
    let parts = input
        .path
        .iter()
        .map(|part| PARTS[usize::from(*part) % PARTS.len()]);
    let base = if input.base.is_some() { "/base" } else { "" };
    let path = format!("{base}/{}", parts.collect::<String>());
    let asked = method(input.method);

    let matched = path[base.len()..].trim_start_matches('/');
    let matched = matched.strip_suffix('/').unwrap_or(matched);
    let fits = routes.iter().enumerate();
    let best = fits
        .filter_map(|(index, route)| Some((route.fit(&asked, matched)?, index)))
        .min()
        .map(|((_, values), index)| (index, values));
    let found = trie.find(&asked, &path, base.len()).map(|(index, places)| {
        let value = |place: &std::ops::Range<u32>| &path[place.start as usize..place.end as usize];
        (index, places.iter().map(value).collect::<Vec<_>>())
    });
    assert_eq!(found, best, "{asked} {path}");
});
