//! When environments are started, kept, shared and ended.

use std::{fs, sync::atomic::Ordering::Relaxed, time::Duration};

use serde_json::{Value, json};
use sluicegate::lambda::invocation::Refusal;

use super::support::{Answer, Lab, invocation, lives, until, within};

#[tokio::test]
async fn an_environment_stays_warm_for_the_next_invocation() {
    let lab = Lab::with(|local| local.most_environments = 5);
    let first = lab.pid().await;
    for _ in 0..5 {
        assert_eq!(lab.pid().await, first);
    }
    assert_eq!(lab.local().counters().unwrap().cold_starts.load(Relaxed), 1);
    until(|| lab.gauges().warm == 1).await;
}

#[tokio::test]
async fn environments_are_started_as_needed_and_the_latest_is_used_first() {
    let lab = Lab::with(|local| local.most_environments = 5);
    let waits = |name: &str| invocation(json!([["wait", name], ["pid"]]));
    let (one, two) = tokio::join!(
        async { lab.invoke(waits("one")).await.unwrap().rest().await.0 },
        async {
            until(|| lab.gauges().busy == 1).await;
            let second = async { lab.invoke(waits("two")).await.unwrap().rest().await.0 };
            let go = async {
                until(|| lab.gauges().busy == 2).await;
                lab.let_go("one");
                until(|| lab.gauges().warm == 1).await;
                lab.let_go("two");
            };
            tokio::join!(second, go).0
        }
    );
    assert_ne!(one, two);
    until(|| lab.gauges().warm == 2).await;
    for _ in 0..3 {
        assert_eq!(lab.pid().await.to_string(), two);
        until(|| lab.gauges().warm == 2).await;
    }
}

#[tokio::test]
async fn invocations_beyond_the_cap_wait_in_order() {
    let lab = Lab::new();
    let local = lab.local();
    let run = |steps: Value| {
        let local = local.clone();
        tokio::spawn(async move {
            let invoked = local.invoke(invocation(steps)).await.unwrap();
            Answer::from(invoked).rest().await.1
        })
    };
    let first = run(json!([
        ["wait", "go"],
        ["note", "done", 0],
        ["buffered", "0"]
    ]));
    until(|| lab.gauges().busy == 1).await;
    let mut others = Vec::new();
    for number in 1..=3 {
        others.push(run(json!([["note", "done", number], ["buffered", "x"]])));
        until(|| lab.gauges().waiting == number).await;
    }
    lab.let_go("go");
    for one in std::iter::once(first).chain(others) {
        assert_eq!(within(one).await.unwrap().error, None);
    }
    let done: Vec<Value> = lab.notes("done");
    assert_eq!(done, [json!([0]), json!([1]), json!([2]), json!([3])]);
    assert_eq!(local.counters().unwrap().cold_starts.load(Relaxed), 1);
}

#[tokio::test]
async fn reserved_concurrency_refuses_what_is_beyond_it() {
    let lab = Lab::with(|local| local.most_invocations = Some(1));
    let held = lab
        .begin(json!([["stream", "text/plain"], ["wait", "go"], ["end"]]))
        .await;
    let refusal = lab
        .invoke(invocation(json!([["pid"]])))
        .await
        .err()
        .unwrap();
    let expected = Refusal::new(429, "TooManyRequestsException", "Rate Exceeded.")
        .because("ReservedFunctionConcurrentInvocationLimitExceeded");
    assert_eq!(refusal, expected);
    lab.let_go("go");
    held.rest().await;
    // Its place is free as soon as its end is seen.
    lab.pid().await;
}

#[tokio::test]
async fn the_queue_is_bounded_and_those_who_leave_it_make_room() {
    let lab = Lab::new();
    let held = lab
        .begin(json!([["stream", "text/plain"], ["wait", "go"], ["end"]]))
        .await;
    let local = lab.local();
    let mut waiting: Vec<_> = (0..1000)
        .map(|_| Box::pin(local.invoke(invocation(json!([["pid"]])))))
        .collect();
    for one in &mut waiting {
        assert!(futures_util::poll!(one.as_mut()).is_pending());
    }
    let refusal = lab
        .invoke(invocation(json!([["pid"]])))
        .await
        .err()
        .unwrap();
    assert_eq!(refusal.status, 429);
    assert_eq!(
        refusal.reason.as_deref(),
        Some("ConcurrentInvocationLimitExceeded")
    );
    waiting.truncate(10);
    assert_eq!(lab.gauges().waiting, 10);
    drop(waiting);
    lab.let_go("go");
    held.rest().await;
    lab.pid().await;
}

#[tokio::test]
async fn one_environment_may_take_several_invocations_at_a_time() {
    let lab = Lab::with(|local| local.per_environment = 3);
    let mut answers = Vec::new();
    for number in 0..3 {
        let steps = json!([
            ["stream", "text/plain"],
            ["chunk", "here"],
            ["wait", format!("go{number}")],
            ["end"]
        ]);
        let mut answer = lab.begin(steps).await;
        assert_eq!(answer.next().await.as_deref(), Some("here"));
        answers.push(answer);
    }
    let local = lab.local();
    let mut fourth = Box::pin(local.invoke(invocation(json!([["pid"]]))));
    assert!(futures_util::poll!(fourth.as_mut()).is_pending());
    assert_eq!((lab.gauges().busy, lab.gauges().waiting), (1, 1));
    for (number, answer) in answers.into_iter().enumerate() {
        lab.let_go(&format!("go{number}"));
        assert_eq!(answer.rest().await.1.error, None);
    }
    assert!(within(fourth).await.is_ok());
    assert_eq!(lab.notes("start").len(), 1);
}

#[tokio::test]
async fn an_idle_environment_is_ended() {
    let lab = Lab::with(|local| local.idle = Duration::from_millis(100));
    let pid = lab.pid().await;
    until(|| !lives(pid)).await;
    until(|| lab.gauges() == super::support::nothing()).await;
    assert_ne!(lab.pid().await, pid);
}

#[tokio::test]
async fn changed_code_is_run_by_the_next_invocation_and_what_runs_ends_first() {
    let lab = Lab::with(|local| local.watch = true);
    fs::create_dir_all(lab.directory.join("lib/__pycache__")).unwrap();
    // A directory that is new is a change, too.
    tokio::time::sleep(Duration::from_millis(400)).await;
    let old = lab.pid().await;
    fs::write(lab.directory.join("lib/__pycache__/a.pyc"), "").unwrap();
    fs::write(lab.directory.join(".hidden"), "").unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let running = lab
        .begin(json!([
            ["stream", "text/plain"],
            ["chunk", "still "],
            ["wait", ".go"],
            ["chunk", "here"],
            ["end"]
        ]))
        .await;
    assert_eq!(lab.notes("start").len(), 1, "only code counts");
    fs::write(lab.directory.join("lib/a.py"), "").unwrap();
    until(|| lab.gauges().ending == 1).await;
    assert_ne!(lab.pid().await, old);
    assert!(lives(old));
    lab.let_go(".go");
    assert_eq!(running.rest().await.0, "still here");
    until(|| !lives(old)).await;
    // What is new is watched, too.
    let new = lab.pid().await;
    fs::create_dir(lab.directory.join("more")).unwrap();
    until(|| !lives(new)).await;
    let new = lab.pid().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    fs::write(lab.directory.join("more/b.py"), "").unwrap();
    until(|| !lives(new)).await;
}

#[tokio::test]
async fn stopping_ends_every_process_even_those_that_do_not_want_to() {
    let lab = Lab::with(|local| local.most_environments = 2);
    let mut running = lab
        .begin(json!([
            ["stubborn"],
            ["child"],
            ["stream", "text/plain"],
            ["chunk", "x"],
            ["hang"]
        ]))
        .await;
    running.next().await;
    let waiting = tokio::spawn({
        let local = lab.local().clone();
        async move { local.invoke(invocation(json!([["hang"]]))).await }
    });
    until(|| lab.gauges().busy == 2).await;
    let pids: Vec<u32> = ["start", "child"]
        .iter()
        .flat_map(|name| lab.notes(name))
        .map(|note| note.as_array().unwrap().last().unwrap().as_u64().unwrap() as u32)
        .collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| lives(*pid)));
    lab.stop().await;
    // The child's own parent has gone; whoever inherits it waits for it.
    until(|| !pids.iter().any(|pid| is_running(*pid))).await;
    let (_, completion) = running.rest().await;
    assert_eq!(&*completion.error.unwrap().code, "Sandbox.Failure");
    assert!(within(waiting).await.unwrap().is_ok());
    let refusal = lab
        .invoke(invocation(json!([["pid"]])))
        .await
        .err()
        .unwrap();
    assert_eq!(&*refusal.error_type, "ServiceException");
}

/// Whether a process is there and no zombie.
fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

#[tokio::test]
async fn a_function_that_is_no_longer_configured_ends_with_its_last_answer() {
    let mut lab = Lab::with(|local| local.most_environments = 2);
    let answer = lab
        .begin(json!([
            ["stream", "text/plain"],
            ["wait", "go"],
            ["chunk", "late"],
            ["end"]
        ]))
        .await;
    let idle = lab.pid().await;
    drop(lab.local.take());
    until(|| !lives(idle)).await;
    let busy = lab.notes("start")[0][1].as_u64().unwrap() as u32;
    assert!(lives(busy));
    lab.let_go("go");
    assert_eq!(answer.rest().await.0, "late");
    until(|| !lives(busy)).await;
}
