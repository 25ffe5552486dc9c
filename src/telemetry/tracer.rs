//! Which requests are traced, and the queue in which their spans wait for whoever sends them.
//!
//! A caller that records its own span decides; else chance does, by the trace's id, so that everybody who asks the same
//! question of one trace gets the same answer. Nothing here waits: a span for which there is no room is dropped and counted.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    metrics::spans::{Loss, lost},
    span,
};
use crate::types::{
    context::Context,
    trace::{Asked, Span, TraceId},
};

/// Spans that may wait, each of some two kilobytes.
const MOST_WAITING: usize = 2048;
/// Chance looks at so many low bits of a trace's id: those that are random (Trace Context, level 2).
const RANDOM_BITS: u32 = 56;

/// What the sender takes from the queue.
#[derive(Debug)]
pub enum Message {
    /// A span, as OTLP writes it in JSON.
    Span(Vec<u8>),
    /// Answered once all spans before it are gone.
    Flush(oneshot::Sender<()>),
}

/// Makes spans of requests.
#[derive(Debug)]
pub struct Tracer {
    /// Traces whose random bits are below it are recorded.
    threshold: u64,
    queue: mpsc::Sender<Message>,
}

impl Tracer {
    /// A tracer that records a share of `rate` of the requests, and the other end of its queue.
    pub fn new(rate: f64) -> (Tracer, mpsc::Receiver<Message>) {
        let (queue, spans) = mpsc::channel(MOST_WAITING);
        let threshold = (rate.clamp(0.0, 1.0) * (1_u64 << RANDOM_BITS) as f64) as u64;
        (Tracer { threshold, queue }, spans)
    }

    /// Whether the request is traced. If so it has a span from now on, which its backend gets for a parent.
    pub fn begin(&self, context: &mut Context) -> bool {
        let asked = Asked::of(&context.head.fields, &context.trace);
        if !asked
            .is_sampled
            .unwrap_or_else(|| self.chooses(&asked.trace))
        {
            return false;
        }
        let span = Span::below(&asked);
        let fields = &mut context.head.fields;
        fields.set(b"traceparent", &span.traceparent());
        context.span = Some(Box::new(span));
        true
    }

    fn chooses(&self, trace: &TraceId) -> bool {
        let digits = trace.get(trace.len() - RANDOM_BITS as usize / 4..);
        let bits = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u64::from_str_radix(digits, 16).ok());
        bits.is_some_and(|bits| bits < self.threshold)
    }

    /// Hands over the span of a request that has ended.
    pub fn end(&self, context: &Context) {
        let Some(span) = span::write(context) else {
            return;
        };
        if self.queue.try_send(Message::Span(span)).is_err() {
            lost(Loss::Queue, 1);
        }
    }

    /// Waits until all spans so far are gone, or for `limit`.
    pub async fn flush(&self, limit: Duration) {
        let (done, all_gone) = oneshot::channel();
        let flushing = async {
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                let _ = all_gone.await;
            }
        };
        let _ = timeout(limit, flushing).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        telemetry::testing::context,
        types::{fields::Fields, known::Known, outcome::Outcome},
    };

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";

    #[test]
    fn the_callers_choice_goes_before_chance() {
        for rate in [0.0, 1.0] {
            let (tracer, _spans) = Tracer::new(rate);
            for (flag, is_traced) in [("0", false), ("1", true)] {
                let said = format!("{PARENT}{flag}");
                let mut context = context(&format!("traceparent: {said}\r\n"));
                assert_eq!(tracer.begin(&mut context), is_traced);
                let passed: Vec<&[u8]> = context.head.fields.all(Known::Traceparent).collect();
                let own = context.span.map(|span| span.traceparent());
                let expected = own.unwrap_or_else(|| said.clone().into_bytes());
                assert_eq!(passed, [expected], "{said} at {rate}");
            }
        }
    }

    #[test]
    fn chance_takes_its_share_and_the_same_traces_each_time() {
        let (half, _spans) = Tracer::new(0.5);
        let (third, _spans) = Tracer::new(0.3);
        let traces = (0..4000).map(|_| Asked::of(&Fields::default(), b"").trace);
        let traces: Vec<TraceId> = traces.collect();
        let taken = traces.iter().filter(|trace| half.chooses(trace)).count();
        assert!((1700..2300).contains(&taken), "{taken}");
        // Whoever records fewer records a part of what the others do.
        assert!(
            traces
                .iter()
                .filter(|it| third.chooses(it))
                .all(|it| half.chooses(it))
        );
    }

    #[test]
    fn all_or_none_are_taken_at_the_ends() {
        for (rate, is_taken) in [(1.0, true), (0.0, false)] {
            let (tracer, _spans) = Tracer::new(rate);
            assert_eq!(tracer.chooses(&[b'f'; 32]), is_taken);
            assert_eq!(tracer.chooses(&[b'0'; 32]), is_taken);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_drops_spans_and_a_flush_doesnt_wait_for_ever() {
        let (tracer, mut spans) = Tracer::new(1.0);
        let mut context = context("");
        assert!(tracer.begin(&mut context));
        context.end = Some((Outcome::Complete, context.opened));
        for _ in 0..MOST_WAITING + 3 {
            tracer.end(&context);
        }
        tracer.flush(Duration::from_secs(2)).await;
        drop(tracer);
        let mut waiting = 0;
        while spans.recv().await.is_some() {
            waiting += 1;
        }
        assert_eq!(waiting, MOST_WAITING);
    }
}
