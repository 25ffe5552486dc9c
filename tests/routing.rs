//! The router against two judges that know nothing of tries: a list that is searched from the best match to the worst,
//! and matchit, where both understand the same templates.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is wrong about its world should stop at once"
)]

use std::collections::{HashMap, HashSet};

use http::Method;
use proptest::{collection::vec, prelude::*, sample::select};
use sluicegate::{config::model::Verb, route::trie::Trie};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Literal(&'static str),
    Variable,
    Greedy,
}

#[derive(Clone, Debug)]
struct Route {
    verb: &'static str,
    segments: Vec<Segment>,
}

impl Route {
    fn template(&self) -> String {
        let segments = self
            .segments
            .iter()
            .enumerate()
            .map(|(at, segment)| match segment {
                Segment::Literal(text) => (*text).to_owned(),
                Segment::Variable => format!("{{v{at}}}"),
                Segment::Greedy => format!("{{v{at}+}}"),
            });
        format!("/{}", segments.collect::<Vec<_>>().join("/"))
    }

    fn verb(&self) -> Verb {
        match self.verb {
            "ANY" => Verb::Any,
            method => Verb::Only(method.parse().unwrap()),
        }
    }

    /// How well each segment fits, first the most important, and the values of the parameters.
    fn fit<'a>(&self, method: &str, path: &[&'a str]) -> Option<(Vec<u8>, Vec<Vec<&'a str>>)> {
        if self.verb != "ANY" && self.verb != method {
            return None;
        }
        let (mut rank, mut values) = (Vec::new(), Vec::new());
        let mut rest = path;
        for segment in &self.segments {
            let (first, behind) = rest.split_first()?;
            match segment {
                Segment::Literal(text) if text == first => rank.push(0),
                Segment::Literal(_) => return None,
                Segment::Variable => {
                    rank.push(1);
                    values.push(vec![*first]);
                }
                Segment::Greedy => {
                    rank.push(2);
                    values.push(rest.to_vec());
                    rest = &[];
                    continue;
                }
            }
            rest = behind;
        }
        rank.push(u8::from(self.verb == "ANY"));
        rest.is_empty().then_some((rank, values))
    }
}

fn segment() -> impl Strategy<Value = Segment> {
    prop_oneof![
        3 => select(vec!["a", "b", "ab", "a.b"]).prop_map(Segment::Literal),
        2 => Just(Segment::Variable),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    let verb = select(vec!["GET", "POST", "OPTIONS", "ANY"]);
    (verb, vec(segment(), 0..5), prop::bool::weighted(0.3)).prop_map(
        |(verb, mut segments, is_greedy)| {
            if is_greedy {
                segments.push(Segment::Greedy);
            }
            Route { verb, segments }
        },
    )
}

/// As in a document that API Gateway takes: no route twice, one variable child per resource.
fn distinct(routes: Vec<Route>) -> Vec<Route> {
    let mut seen = HashSet::new();
    let mut children: HashMap<Vec<Segment>, Segment> = HashMap::new();
    let fits = |route: &Route| {
        let variables = route.segments.iter().enumerate();
        variables
            .filter(|(_, segment)| !matches!(segment, Segment::Literal(_)))
            .all(|(at, segment)| {
                children
                    .entry(route.segments[..at].to_vec())
                    .or_insert_with(|| segment.clone())
                    == segment
            })
    };
    let routes: Vec<Route> = routes.into_iter().filter(fits).collect();
    routes
        .into_iter()
        .filter(|route| seen.insert((route.verb, route.segments.clone())))
        .collect()
}

fn path() -> impl Strategy<Value = Vec<&'static str>> {
    vec(select(vec!["a", "b", "ab", "a.b", "c", "%2F"]), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_trie_finds_what_a_search_of_all_routes_finds(
        routes in vec(route(), 0..14).prop_map(distinct),
        method in select(vec!["GET", "POST", "OPTIONS", "DELETE"]),
        segments in path(),
        has_slash in any::<bool>(),
        base in select(vec!["", "/prod", "/x/y"]),
    ) {
        let mut trie = Trie::default();
        for (index, route) in routes.iter().enumerate() {
            trie.insert(&route.template(), &route.verb(), index);
        }
        let path = format!("{base}/{}{}", segments.join("/"), if has_slash { "/" } else { "" });
        let best = routes
            .iter()
            .enumerate()
            .filter_map(|(index, route)| Some((route.fit(method, &segments)?, index)))
            .min_by(|one, other| one.0.0.cmp(&other.0.0));
        let expected = best.map(|((_, values), index)| {
            (index, values.iter().map(|value| value.join("/")).collect::<Vec<_>>())
        });
        let found = trie.find(&method.parse::<Method>().unwrap(), &path, base.len()).map(|(index, places)| {
            let values = places.iter().map(|place| path[place.start as usize..place.end as usize].to_owned());
            (index, values.collect::<Vec<_>>())
        });
        prop_assert_eq!(found, expected, "{} {} in {:?}", method, path, routes);
    }

    #[test]
    fn matchit_agrees_where_it_understands_the_same(
        routes in vec(route(), 0..14).prop_map(distinct),
        segments in path(),
    ) {
        let mut trie = Trie::default();
        let mut judge = matchit::Router::new();
        let mut paths = HashSet::new();
        for (index, route) in routes.iter().enumerate().filter(|(_, route)| paths.insert(route.segments.clone())) {
            let template = route.template();
            trie.insert(&template, &Verb::Any, index);
            let theirs = template.split('/').map(|segment| match segment.strip_suffix("+}") {
                Some(name) => format!("{{*{}}}", &name[1..]),
                None => segment.to_owned(),
            });
            judge.insert(theirs.collect::<Vec<_>>().join("/"), index).unwrap();
        }
        let path = format!("/{}", segments.join("/"));
        let ours = trie.find(&Method::GET, &path, 0).map(|(index, _)| index);
        let theirs = judge.at(&path).ok().map(|found| *found.value);
        prop_assert_eq!(ours, theirs, "{} in {:?}", path, routes);
    }

    #[test]
    fn no_path_is_too_odd_to_look_up(path in "/[/a-c%.]{0,20}", routes in vec(route(), 0..8).prop_map(distinct)) {
        let mut trie = Trie::default();
        for (index, route) in routes.iter().enumerate() {
            trie.insert(&route.template(), &route.verb(), index);
        }
        if let Some((_, places)) = trie.find(&Method::GET, &path, 0) {
            for place in places {
                prop_assert!(path.get(place.start as usize..place.end as usize).is_some_and(|it| !it.is_empty()));
            }
        }
    }
}
