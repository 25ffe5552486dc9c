//! Target groups: several places that serve the same, as behind a VPC link.
//!
//! A request goes to the available target with the fewest requests under way. A target that fails several times in a
//! row is left out for a while (passive ejection); one whose health check fails, until it succeeds again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use super::endpoint::Endpoint;
use crate::types::{clock::Tick, fault::FaultKind};

/// Failures in a row that eject a target.
const FAILURES: u32 = 3;
/// The first ejection's length; each further one in a row is longer by as much, up to ten times.
const EJECTION_MICROS: u64 = 10_000_000;

/// A named list of targets, shared by all workers.
#[derive(Debug)]
pub struct Group {
    name: Box<str>,
    targets: Vec<Arc<Target>>,
    /// Where the search begins, so that equals take turns.
    turn: AtomicUsize,
}

/// How a target is doing.
#[derive(Debug)]
pub struct TargetState<'a> {
    /// The target.
    pub endpoint: &'a Endpoint,
    /// What its health check last found.
    pub is_healthy: bool,
    /// Whether requests go there: it is healthy and wasn't left out for its failures.
    pub is_available: bool,
    /// Requests under way.
    pub under_way: u32,
}

#[derive(Debug)]
struct Target {
    endpoint: Arc<Endpoint>,
    under_way: AtomicU32,
    failures: AtomicU32,
    ejections: AtomicU64,
    ejected_until: AtomicU64,
    is_healthy: AtomicBool,
}

impl Group {
    /// A group of these targets.
    pub fn new(name: &str, endpoints: Vec<Endpoint>) -> Group {
        Group {
            name: name.into(),
            targets: endpoints
                .into_iter()
                .map(|it| Arc::new(Target::new(it)))
                .collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The group that follows this one with these targets: itself if they are the same. Targets that stay keep what is
    /// known of them.
    #[must_use]
    pub fn followed_by(self: &Arc<Self>, endpoints: Vec<Endpoint>) -> Arc<Group> {
        let ids = |own: &Arc<Target>| own.endpoint.id;
        if self
            .targets
            .iter()
            .map(ids)
            .eq(endpoints.iter().map(|it| it.id))
        {
            return self.clone();
        }
        let mut known = self.targets.clone();
        let mut follow = |endpoint: Endpoint| {
            let at = known.iter().position(|own| own.endpoint.id == endpoint.id);
            at.map_or_else(|| Arc::new(Target::new(endpoint)), |at| known.remove(at))
        };
        Arc::new(Group {
            name: self.name.clone(),
            targets: endpoints.into_iter().map(&mut follow).collect(),
            turn: AtomicUsize::new(0),
        })
    }

    /// How many targets it has.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The targets' endpoints, in order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.targets.iter().map(|target| &target.endpoint)
    }

    /// How each target is doing, in order.
    pub fn states(&self, now: Tick) -> impl Iterator<Item = TargetState<'_>> {
        self.targets.iter().map(move |target| TargetState {
            endpoint: &target.endpoint,
            is_healthy: target.is_healthy.load(Relaxed),
            is_available: target.is_available(now),
            under_way: target.under_way.load(Relaxed),
        })
    }

    /// Notes what a health check found.
    pub fn set_health(&self, at: usize, is_healthy: bool) {
        let Some(target) = self.targets.get(at) else {
            return;
        };
        if target.is_healthy.swap(is_healthy, Relaxed) != is_healthy {
            let state = if is_healthy {
                "healthy again"
            } else {
                "unhealthy"
            };
            tracing::warn!(group = %self.name, target = %target.endpoint, "the target is {state}");
        }
    }

    /// Chooses a target. If none is available, all are: a wrong verdict must not make an outage.
    pub fn lease(self: &Arc<Self>, now: Tick) -> Lease {
        let turn = self.turn.fetch_add(1, Relaxed);
        let places = (0..self.len()).map(|offset| (turn + offset) % self.len().max(1));
        let key = |at: &usize| {
            let target = self.targets.get(*at);
            (
                target.is_some_and(|target| !target.is_available(now)),
                target.map(|t| t.under_way.load(Relaxed)),
            )
        };
        let at = places.min_by_key(key).unwrap_or(0);
        if let Some(target) = self.targets.get(at) {
            target.under_way.fetch_add(1, Relaxed);
        }
        Lease {
            group: self.clone(),
            at,
        }
    }
}

impl Target {
    fn new(endpoint: Endpoint) -> Target {
        Target {
            endpoint: Arc::new(endpoint),
            under_way: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            ejected_until: AtomicU64::new(0),
            is_healthy: AtomicBool::new(true),
        }
    }

    fn is_available(&self, now: Tick) -> bool {
        self.is_healthy.load(Relaxed) && self.ejected_until.load(Relaxed) <= now.micros()
    }
}

/// A request under way at a target.
#[derive(Debug)]
pub struct Lease {
    group: Arc<Group>,
    at: usize,
}

impl Lease {
    /// Where the request goes.
    #[expect(
        clippy::indexing_slicing,
        reason = "`at` came from the group's own list, which never changes"
    )]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.group.targets[self.at].endpoint
    }

    /// Tells the group how the call went, as far as the head.
    pub fn report(&self, fault: Option<FaultKind>, now: Tick) {
        let Some(target) = self.group.targets.get(self.at) else {
            return;
        };
        let is_targets_fault = matches!(
            fault,
            Some(FaultKind::Unreachable | FaultKind::Unresolvable | FaultKind::BadAnswer)
        );
        if !is_targets_fault {
            if fault.is_none() {
                target.failures.store(0, Relaxed);
                target.ejections.store(0, Relaxed);
            }
            return;
        }
        if target.failures.fetch_add(1, Relaxed) + 1 >= FAILURES && self.group.len() > 1 {
            target.failures.store(0, Relaxed);
            let times = (target.ejections.fetch_add(1, Relaxed) + 1).min(10);
            target
                .ejected_until
                .store(now.micros() + times * EJECTION_MICROS, Relaxed);
            tracing::warn!(
                group = %self.group.name, target = %target.endpoint,
                "the target failed {FAILURES} times in a row and is left out for {} s", times * EJECTION_MICROS / 1_000_000
            );
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(target) = self.group.targets.get(self.at) {
            target.under_way.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(count: u16) -> Arc<Group> {
        let endpoints = (0..count)
            .map(|port| Endpoint::new("127.0.0.1", port, None))
            .collect();
        Arc::new(Group::new("test", endpoints))
    }

    #[test]
    fn the_target_with_least_to_do_is_chosen_and_equals_take_turns() {
        let group = group(3);
        let now = Tick::now();
        let busy: Vec<Lease> = (0..3).map(|_| group.lease(now)).collect();
        let ports: std::collections::HashSet<u16> =
            busy.iter().map(|lease| lease.endpoint().port).collect();
        assert_eq!(ports.len(), 3);
        let mut busy = busy;
        let freed = busy.remove(1).endpoint().port;
        assert_eq!(group.lease(now).endpoint().port, freed);
    }

    #[test]
    fn failures_in_a_row_eject_and_time_brings_back() {
        let group = group(2);
        let now = Tick::now();
        for _ in 0..FAILURES {
            let lease = Lease {
                group: group.clone(),
                at: 0,
            };
            group.targets[0].under_way.fetch_add(1, Relaxed);
            lease.report(Some(FaultKind::Unreachable), now);
        }
        for _ in 0..10 {
            assert_eq!(group.lease(now).endpoint().port, 1);
        }
        let later = now.after(std::time::Duration::from_secs(11));
        let ports: std::collections::HashSet<u16> = (0..10)
            .map(|_| group.lease(later).endpoint().port)
            .collect();
        assert_eq!(ports.len(), 2);
    }

    #[test]
    fn a_shortage_of_our_own_ejects_no_target() {
        let group = group(2);
        let now = Tick::now();
        for _ in 0..FAILURES * 2 {
            group.lease(now).report(Some(FaultKind::Overloaded), now);
        }
        assert!(group.states(now).all(|target| target.is_available));
    }

    #[test]
    fn targets_that_stay_keep_what_is_known_of_them() {
        let before = group(2);
        before.set_health(1, false);
        let lease = before.lease(Tick::now());
        assert_eq!(lease.endpoint().port, 0);
        let endpoint = |port| Endpoint::new("127.0.0.1", port, None);
        let same = before.followed_by(vec![endpoint(0), endpoint(1)]);
        assert!(Arc::ptr_eq(&before, &same));
        let after = before.followed_by(vec![endpoint(1), endpoint(0), endpoint(7)]);
        let under_way = |at: usize| after.targets[at].under_way.load(Relaxed);
        assert!(!after.targets[0].is_healthy.load(Relaxed));
        assert_eq!((under_way(1), under_way(2)), (1, 0));
        drop(lease);
        assert_eq!(under_way(1), 0);
    }

    #[test]
    fn with_no_target_available_all_are() {
        let group = group(2);
        group.set_health(0, false);
        group.set_health(1, false);
        let now = Tick::now();
        let ports: std::collections::HashSet<u16> =
            (0..4).map(|_| group.lease(now).endpoint().port).collect();
        assert_eq!(ports.len(), 2);
        group.set_health(1, true);
        assert_eq!(group.lease(now).endpoint().port, 1);
    }
}
