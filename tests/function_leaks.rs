//! After many invocations that end in every way there is, nothing of them is left. Alone in its process, since it counts
//! descriptors.

#![cfg(target_os = "linux")]
#![expect(unreachable_pub, reason = "a test binary has no public interface")]
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a test that is wrong about its world should stop at once"
)]

#[path = "functions/support.rs"]
mod support;

use std::{fs, path::Path, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use support::{Answer, Lab, invocation, nothing, until};

const INVOCATIONS: usize = 300;

/// What an invocation does, and whether its caller stays until its end.
fn kind(number: usize) -> (Value, bool) {
    let stream = json!(["stream", "text/plain"]);
    match number % 10 {
        0 | 1 => (json!([["buffered", "well"]]), true),
        2 => (
            json!([stream, ["chunk", "a"], ["chunk", "b"], ["end"]]),
            true,
        ),
        3 => (json!([stream, ["chunk", "a"], ["exit", 1]]), true),
        4 => (json!([stream, ["chunk", "a"], ["child"], ["kill"]]), true),
        5 => (json!([["exit", 2]]), true),
        6 => (json!([["error", "Function.Broken", "{}"]]), true),
        7 => (json!([stream, ["chunk", "a"], ["cut"]]), true),
        8 => (json!([stream, ["flood", 100_000]]), false),
        _ if number % 100 == 99 => (
            json!([["stubborn"], ["child"], stream, ["chunk", "a"], ["hang"]]),
            false,
        ),
        _ => (json!([stream, ["chunk", "a"], ["closed"]]), false),
    }
}

async fn run(lab: &Lab, number: usize) {
    let (steps, stays) = kind(number);
    if number % 25 == 24 {
        // Its caller leaves before anything has come.
        let mut call = Box::pin(lab.local().invoke(invocation(steps)));
        assert!(futures_util::poll!(call.as_mut()).is_pending());
        return;
    }
    let mut answer: Answer = lab.begin(steps).await;
    if stays {
        answer.rest().await;
    } else {
        answer.next().await;
    }
}

/// The processes that were started in a directory.
fn processes_in(directory: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_in = |id: &u32| {
        let own = fs::read_link(format!("/proc/{id}/cwd"));
        own.is_ok_and(|own| own == directory)
    };
    ids.filter(is_in).collect()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn after_many_invocations_with_kills_and_cancels_everything_is_as_before() {
    let lab = Lab::with(|local| {
        local.most_environments = 6;
        local.idle = Duration::from_millis(200);
    });
    let tasks = || lab.control.as_ref().unwrap().metrics().num_alive_tasks();
    let is_quiet = || lab.gauges() == nothing() && tasks() == 0;
    lab.pid().await;
    until(is_quiet).await;
    let before = descriptors();

    let all = stream::iter(0..INVOCATIONS).for_each_concurrent(12, |number| run(&lab, number));
    let in_time = tokio::time::timeout(Duration::from_secs(240), all).await;
    assert!(in_time.is_ok(), "{:?}", lab.gauges());
    until(is_quiet).await;
    assert_eq!(processes_in(&lab.directory), [0_u32; 0]);
    assert_eq!(descriptors(), before);
    let counts = lab.local().counters().unwrap().read();
    assert_eq!(counts[0], INVOCATIONS as u64 + 1);
    assert_eq!(counts[4], 0, "none timed out");
}
