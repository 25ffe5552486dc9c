//! The record of a request: opened with it, closed exactly once when its response has ended, however it ends.

use std::{cell::RefCell, sync::Arc};

use super::{
    execution,
    live::{self, Live},
    metrics::Shard,
    tracer::Tracer,
    writer::Sink,
};
use crate::{
    config::model::ExecutionLog,
    stream::clocks::Clocks,
    types::{
        clock::Tick,
        context::Context,
        fault::{Fault, FaultKind},
        outcome::Outcome,
        site::{Resource, Site},
        template::{Escape, Template},
    },
};

/// An access log: where its lines go, and their format.
#[derive(Debug)]
pub struct AccessLog {
    /// Where; `None` for nowhere.
    sink: Option<Sink>,
    /// One line.
    format: Template,
    /// The same where nothing went wrong: most lines need say little more about that.
    flawless: Template,
}

impl AccessLog {
    /// A log with lines of this format.
    pub fn new(sink: Option<Sink>, format: Template) -> AccessLog {
        AccessLog {
            sink,
            flawless: format.for_flawless(Escape::Log),
            format,
        }
    }

    /// The log for the requests of one route.
    #[must_use]
    pub fn for_route(&self, site: &Site, resource: &Resource) -> AccessLog {
        let format = self.format.for_route(site, resource, Escape::Log);
        AccessLog::new(self.sink.clone(), format)
    }
}

/// The record of one request.
///
/// Dropping it closes it: a request whose handling is dropped is one whose client left.
#[derive(Debug)]
pub struct Record {
    context: Box<Context>,
    log: Arc<AccessLog>,
    level: ExecutionLog,
    counts: Arc<Shard>,
    /// Those that know whom it has waited for, from its integration on.
    clocks: Option<Arc<Clocks>>,
    live: Option<Live>,
    /// Who takes its span, if it is traced.
    tracer: Option<Arc<Tracer>>,
    /// Whether it counts as an open stream.
    is_stream: bool,
    is_closed: bool,
}

impl Record {
    /// Opens the record of a request. `counts` is where it counts unless it reaches an API.
    pub fn open(context: Box<Context>, log: Arc<AccessLog>, counts: Arc<Shard>) -> Record {
        Record {
            context,
            log,
            level: ExecutionLog::Error,
            counts,
            clocks: None,
            live: None,
            tracer: None,
            is_stream: false,
            is_closed: false,
        }
    }

    /// Traces the request from here on, if the caller or chance wants it.
    pub fn trace(&mut self, tracer: &Arc<Tracer>) {
        self.tracer = tracer.begin(&mut self.context).then(|| tracer.clone());
    }

    /// The request belongs to an API with its own log and level.
    pub fn belongs_to(&mut self, log: &Arc<AccessLog>, level: ExecutionLog) {
        self.log = log.clone();
        self.level = level;
    }

    /// The request counts there.
    pub fn count_in(&mut self, counts: &Arc<Shard>) {
        self.counts = counts.clone();
    }

    /// What is known of the request.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// To add to what is known.
    pub fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// The request has reached its integration: until its record is closed, it is an open stream if its response is
    /// streamed, and can be seen among the live ones if anybody watches.
    pub fn go_live(&mut self, clocks: &Arc<Clocks>) {
        if self.context.is_streamed() {
            self.is_stream = true;
            self.counts.stream_opened();
        }
        if live::is_watched() {
            self.live = Some(Live::new(&self.context, clocks.clone()));
        }
        self.clocks = Some(clocks.clone());
    }

    /// Counts payload bytes that were given to the client's connection.
    pub fn sent(&mut self, bytes: u64) {
        self.context.transfer.bytes += bytes;
        if let Some(live) = &self.live {
            live.sent(bytes);
        }
    }

    /// Notes that the gateway failed at the request, whose client has seen no status but the one of that unless
    /// `has_begun`. The outcome to close the record with.
    pub fn note_panic(&mut self, has_begun: bool) -> Outcome {
        if !has_begun {
            self.context.status = Some(FaultKind::Panicked.row().status);
        }
        self.context.fault = Some(Fault::new(
            FaultKind::Panicked,
            "the gateway has a defect: see its log",
        ));
        Outcome::Refused
    }

    /// Ends the request. Later calls say nothing new.
    pub fn close(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        let now = Tick::now();
        let context = &mut *self.context;
        if context.integration.started.is_some() {
            context.integration.ended.get_or_insert(now);
        }
        context.end = Some((outcome, now));
        if let Some(live) = self.live.take() {
            live.end(outcome, now);
        }
        if self.is_stream {
            self.counts.stream_closed();
        }
        self.counts.count(context);
        write_line(&self.log, context);
        execution::tell(context, self.level);
        if let Some(tracer) = &self.tracer {
            tracer.end(context);
        }
    }
}

fn write_line(log: &AccessLog, context: &Context) {
    thread_local! {
        static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let Some(sink) = &log.sink else { return };
    LINE.with_borrow_mut(|line| {
        line.clear();
        let format = if context.is_flawless() {
            &log.flawless
        } else {
            &log.format
        };
        format.render(context, Escape::Log, line);
        line.push(b'\n');
        sink.push(line);
    });
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.is_closed {
            return;
        }
        if std::thread::panicking() {
            let outcome = self.note_panic(false);
            return self.close(outcome);
        }
        if let Some(clocks) = self.clocks.take() {
            clocks.settle(&mut self.context.transfer);
        }
        self.close(Outcome::ClientLeft);
    }
}
