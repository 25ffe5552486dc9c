//! One invocation on its way: from the queue through an execution environment to its end.
//!
//! It is shared by those who may end it: the runtime's answer, the clock, the client that leaves, and the death of the
//! process. The first of them wins; the others find it over. Data cross to the client's worker by a bounded channel in
//! which the end has a place of its own, so that nobody ever waits to say that an invocation is over.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{
    mpsc::{self, OwnedPermit},
    oneshot,
};
use tokio_util::sync::CancellationToken;

use super::{
    admission::Admission,
    failure::Failure,
    report::{Report, Status},
    tail::Tail,
};
use crate::{
    lambda::{
        invocation::{Invocation, Refusal},
        output::{Completion, Frame, FunctionError},
    },
    types::{
        clock::Tick,
        ids::{RequestId, random},
    },
};

/// Pieces of payload that wait for a client at most; what more there is stays in the runtime's socket.
const PIECES: usize = 2;

/// The beginning of an answer: the content type under which the runtime streams.
pub(super) type Beginning = Result<Option<Box<str>>, Refusal>;

/// What the caller holds of an invocation.
#[derive(Debug)]
pub(super) struct Ends {
    /// Told when the answer begins.
    pub beginning: oneshot::Receiver<Beginning>,
    /// The payload and its end.
    pub frames: mpsc::Receiver<Frame>,
}

/// An invocation.
#[derive(Debug)]
pub(super) struct Call {
    /// The id that the function sees.
    pub id: RequestId,
    /// Told to the runtime with the event; an answer that names another one is meant for somebody else.
    pub nonce: Box<str>,
    /// What the function is invoked with, but for the event.
    pub invocation: Invocation,
    /// Cancelled when it is over.
    pub over: CancellationToken,
    /// Cancelled when the runtime has come back for its next event, or never will.
    pub returned: CancellationToken,
    frames: mpsc::Sender<Frame>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    stage: Stage,
    /// The event, until a runtime has it: a stream may outlive it by far.
    event: Bytes,
    beginning: Option<oneshot::Sender<Beginning>>,
    end: Option<OwnedPermit<Frame>>,
    admission: Option<Admission>,
    report: Report,
    tail: Tail,
}

/// How far an invocation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for an environment.
    Waiting,
    /// A runtime has its event.
    Delivered,
    /// The runtime has begun to answer.
    Answering,
    /// The runtime has answered, or failed by its own account.
    Answered,
    /// It was given up: out of time, cancelled, or without a process.
    Abandoned,
}

impl Stage {
    /// Whether nothing more can come of it.
    fn is_over(self) -> bool {
        matches!(self, Stage::Answered | Stage::Abandoned)
    }
}

impl Call {
    /// An invocation that has been admitted, and what its caller holds of it.
    pub(super) fn new(mut invocation: Invocation, admission: Admission) -> (Call, Ends) {
        let (frames, receiver) = mpsc::channel(PIECES + 1);
        let (beginning, begun) = oneshot::channel();
        let progress = Progress {
            stage: Stage::Waiting,
            event: std::mem::take(&mut invocation.event),
            beginning: Some(beginning),
            end: frames.clone().try_reserve_owned().ok(),
            admission: Some(admission),
            report: Report::default(),
            tail: Tail::default(),
        };
        let call = Call {
            id: invocation.request_id,
            nonce: format!("{:016x}", random()).into(),
            invocation,
            over: CancellationToken::new(),
            returned: CancellationToken::new(),
            frames,
            progress: Mutex::new(progress),
        };
        let ends = Ends {
            beginning: begun,
            frames: receiver,
        };
        (call, ends)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it has come.
    pub(super) fn stage(&self) -> Stage {
        self.progress().stage
    }

    /// Waits until nobody takes its output any more.
    pub(super) async fn forsaken(&self) {
        self.frames.closed().await;
    }

    /// Its event goes to a runtime. `init` is how long the environment took to start, if this is its first invocation.
    pub(super) fn deliver(&self, now: Tick, init: Option<std::time::Duration>) {
        let mut progress = self.progress();
        progress.stage = Stage::Delivered;
        progress.report.delivered = now;
        progress.report.init = init;
    }

    /// Its event, once.
    pub(super) fn take_event(&self) -> Bytes {
        std::mem::take(&mut self.progress().event)
    }

    /// The runtime begins to answer; false if it isn't its turn.
    pub(super) fn begin(&self, content_type: Option<Box<str>>) -> bool {
        let mut progress = self.progress();
        if progress.stage != Stage::Delivered {
            return false;
        }
        progress.stage = Stage::Answering;
        if let Some(beginning) = progress.beginning.take() {
            // A caller that has gone is noticed by the channel of its frames.
            let _ = beginning.send(Ok(content_type));
        }
        true
    }

    /// Hands a piece of payload over, when there is room for it. Without a taker it is dropped.
    pub(super) async fn give(&self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.progress().report.piece(data.len(), Tick::now());
        let _ = self.frames.send(Frame::Data(data)).await;
    }

    /// Ends it as the runtime says; `payload` is the runtime's own error if that is all there is.
    pub(super) fn answered(
        &self,
        error: Option<FunctionError>,
        payload: Option<Bytes>,
    ) -> Option<Ended> {
        let status = if error.is_some() {
            Status::Error
        } else {
            Status::Success
        };
        self.close(Stage::Answered, status, error, payload)
    }

    /// Ends it with a failure that its runtime doesn't know of. Before the answer's beginning, the failure is the answer.
    pub(super) fn fail(&self, failure: &Failure) -> Option<Ended> {
        let payload = failure.payload(&self.id);
        let error = failure.error(&self.id);
        self.close(
            Stage::Abandoned,
            failure.status(),
            Some(error),
            Some(payload),
        )
    }

    /// Ends it because nobody wants it any more.
    pub(super) fn cancel(&self) -> Option<Ended> {
        self.close(Stage::Abandoned, Status::Cancelled, None, None)
    }

    /// Ends it without having been run.
    pub(super) fn refuse(&self, refusal: Refusal) {
        let mut progress = self.progress();
        progress.stage = Stage::Abandoned;
        progress.admission = None;
        if let Some(beginning) = progress.beginning.take() {
            let _ = beginning.send(Err(refusal));
        }
        self.over.cancel();
    }

    fn close(
        &self,
        stage: Stage,
        status: Status,
        error: Option<FunctionError>,
        payload: Option<Bytes>,
    ) -> Option<Ended> {
        let mut progress = self.progress();
        if progress.stage.is_over() {
            return None;
        }
        progress.stage = stage;
        let code = error.as_ref().map(|error| error.code.clone());
        let ended = progress.report.end(Tick::now(), status, code);
        for line in [self.end_line(), ended.line(&self.id)] {
            progress.tail.push(&line);
        }
        // The next invocation may be sent as soon as the caller sees the end of this one.
        progress.admission = None;
        if let Some(beginning) = progress.beginning.take() {
            let _ = beginning.send(Ok(None));
            if let Some(payload) = payload.filter(|payload| !payload.is_empty()) {
                let _ = self.frames.try_send(Frame::Data(payload));
            }
        }
        let log = self.invocation.wants_log.then(|| progress.tail.text());
        if let Some(end) = progress.end.take() {
            end.send(Frame::End(Completion { error, log }));
        }
        self.over.cancel();
        Some(ended)
    }

    /// The line that opens its log.
    pub(super) fn start_line(&self) -> String {
        let version = super::variables::VERSION;
        format!("START RequestId: {} Version: {version}", self.id.as_str())
    }

    /// The line that closes its log.
    pub(super) fn end_line(&self) -> String {
        format!("END RequestId: {}", self.id.as_str())
    }

    /// Adds a line to the log that its caller may have asked for.
    pub(super) fn note(&self, line: &str) {
        if self.invocation.wants_log {
            self.progress().tail.push(line);
        }
    }
}

/// How an invocation went.
pub(super) use super::report::Ended;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::model::TransferMode, lambda::output::Output};

    fn call() -> (Call, Ends) {
        let invocation = Invocation {
            function: None,
            event: Bytes::from_static(b"{}"),
            mode: TransferMode::Stream,
            request_id: RequestId::random(),
            trace: Box::default(),
            client_context: None,
            qualifier: None,
            wants_log: true,
            runs_on: false,
            source: None,
        };
        let (call, ends) = Call::new(invocation, Admission::default());
        call.deliver(Tick::now(), None);
        (call, ends)
    }

    async fn rest(ends: Ends) -> (Vec<u8>, Completion) {
        let mut output = Output::local(ends.frames);
        let mut payload = Vec::new();
        while let Some(data) = std::future::poll_fn(|cx| output.poll_payload(cx, usize::MAX)).await
        {
            payload.extend_from_slice(&data.unwrap());
        }
        (payload, output.completion().cloned().unwrap())
    }

    #[tokio::test]
    async fn an_event_is_held_until_a_runtime_has_it() {
        let (call, _ends) = call();
        assert_eq!(call.take_event(), "{}");
        assert!(call.take_event().is_empty() && call.invocation.event.is_empty());
    }

    #[tokio::test]
    async fn the_first_end_wins() {
        let (call, ends) = call();
        assert!(call.begin(None));
        call.give(Bytes::from_static(b"hello")).await;
        assert!(call.answered(None, None).is_some());
        assert!(call.fail(&Failure::crashed("exit status 1")).is_none());
        assert!(!call.begin(None));
        assert_eq!(call.stage(), Stage::Answered);
        let (payload, completion) = rest(ends).await;
        assert_eq!(payload, b"hello");
        assert_eq!(completion.error, None);
    }

    #[tokio::test]
    async fn a_failure_before_the_answer_is_the_answer() {
        let (call, mut ends) = call();
        call.fail(&Failure::crashed("exit status 3"));
        assert_eq!((&mut ends.beginning).await.unwrap().unwrap(), None);
        let (payload, completion) = rest(ends).await;
        let id = call.id.as_str();
        let text = format!(
            r#"{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {id} Error: Runtime exited with error: exit status 3"}}"#
        );
        assert_eq!(String::from_utf8(payload).unwrap(), text);
        assert_eq!(&*completion.error.unwrap().code, "Runtime.ExitError");
    }

    #[tokio::test]
    async fn the_end_never_waits_for_a_client_that_does_not_read() {
        let (call, ends) = call();
        call.begin(None);
        for _ in 0..PIECES {
            call.give(Bytes::from_static(b"x")).await;
        }
        let mut third = std::pin::pin!(call.give(Bytes::from_static(b"x")));
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        assert!(call.fail(&Failure::crashed("exit status 1")).is_some());
        let (payload, completion) = rest(ends).await;
        assert_eq!(payload, b"xx");
        assert!(completion.error.is_some());
    }

    #[tokio::test]
    async fn the_log_ends_with_the_report() {
        let (call, ends) = call();
        call.note("thinking");
        call.begin(None);
        call.answered(None, None);
        let log = rest(ends).await.1.log.unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[..2], ["thinking", &call.end_line()]);
        assert!(lines[2].starts_with("REPORT RequestId: "), "{log}");
    }
}
