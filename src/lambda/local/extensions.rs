//! The Extensions API, as far as extensions need it to run: they register, wait for events, and report errors
//! (developer guide, "Using the Lambda Extensions API").

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{call::Call, ending::Ending};
use crate::types::{clock::Wall, ids::RequestId};

/// Events that wait for an extension at most; one that asks for none loses the oldest.
const MOST_EVENTS: usize = 64;

/// The extensions of an environment.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    known: Mutex<HashMap<String, Extension>>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Extension {
    wants_invoke: bool,
    wants_shutdown: bool,
    events: VecDeque<Value>,
}

impl Extensions {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Extension>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An extension registers for events, by the JSON body of its call. Gives its identifier.
    pub(super) fn register(&self, body: &[u8]) -> Option<RequestId> {
        let body: Value = if body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(body).ok()?
        };
        let wants = |event: &str| {
            let events = body.get("events").and_then(Value::as_array);
            events.is_some_and(|events| events.iter().any(|name| name == event))
        };
        let id = RequestId::random();
        let extension = Extension {
            wants_invoke: wants("INVOKE"),
            wants_shutdown: wants("SHUTDOWN"),
            events: VecDeque::new(),
        };
        self.known().insert(id.as_str().to_owned(), extension);
        Some(id)
    }

    /// Whether an extension has registered under this identifier.
    pub(super) fn is_known(&self, id: &str) -> bool {
        self.known().contains_key(id)
    }

    /// The next event for an extension, as soon as there is one.
    pub(super) async fn next(&self, id: &str) -> Value {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            let event = self
                .known()
                .get_mut(id)
                .and_then(|extension| extension.events.pop_front());
            match event {
                Some(event) => return event,
                None => news.await,
            }
        }
    }

    /// Tells of an invocation.
    pub(super) fn invoke(&self, call: &Call, arn: &str, deadline: Wall) {
        let trace = String::from_utf8_lossy(&call.invocation.trace);
        let event = json!({
            "eventType": "INVOKE",
            "deadlineMs": deadline.0,
            "requestId": call.id.as_str(),
            "invokedFunctionArn": arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": trace},
        });
        self.tell(&event, |extension| extension.wants_invoke);
    }

    /// Tells of the environment's end; false if nobody wants to know.
    pub(super) fn shut_down(&self, ending: Option<Ending>, deadline: Wall) -> bool {
        let reason = ending.map_or("failure", Ending::shutdown_reason);
        let event = json!({
            "eventType": "SHUTDOWN",
            "shutdownReason": reason,
            "deadlineMs": deadline.0,
        });
        self.tell(&event, |extension| extension.wants_shutdown)
    }

    fn tell(&self, event: &Value, wants: impl Fn(&Extension) -> bool) -> bool {
        let mut known = self.known();
        let mut is_told = false;
        for extension in known.values_mut().filter(|extension| wants(extension)) {
            if extension.events.len() == MOST_EVENTS {
                extension.events.pop_front();
            }
            extension.events.push_back(event.clone());
            is_told = true;
        }
        drop(known);
        self.news.notify_waiters();
        is_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_reach_those_who_registered_for_them() {
        let extensions = Extensions::default();
        let register = |body: &[u8]| extensions.register(body).unwrap();
        let none = register(b"{}");
        let shutdown = register(br#"{"events":["SHUTDOWN"]}"#);
        assert!(extensions.register(b"{").is_none());
        assert!(extensions.is_known(none.as_str()));
        assert!(!extensions.is_known("other"));

        assert!(extensions.shut_down(Some(Ending::TimedOut), Wall(17)));
        let event = extensions.next(shutdown.as_str()).await;
        assert_eq!(
            event,
            json!({"eventType": "SHUTDOWN", "shutdownReason": "timeout", "deadlineMs": 17})
        );
        let mut next = std::pin::pin!(extensions.next(none.as_str()));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
    }

    #[test]
    fn an_extension_that_asks_for_nothing_does_not_gather_events() {
        let extensions = Extensions::default();
        let id = extensions.register(br#"{"events":["SHUTDOWN"]}"#).unwrap();
        for _ in 0..2 * MOST_EVENTS {
            extensions.shut_down(None, Wall(0));
        }
        assert_eq!(extensions.known()[id.as_str()].events.len(), MOST_EVENTS);
    }
}
