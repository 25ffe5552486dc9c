//! Everything that is known of one request, from its arrival to its record.

use std::{net::IpAddr, ops::Range, sync::Arc};

use http::Method;
use smallvec::SmallVec;

use super::{
    clock::{Tick, Wall},
    fault::Fault,
    fields::list_members,
    head::RequestHead,
    ids::{ExtendedId, RequestId, is_trace_header, new_trace_root},
    known::Known,
    outcome::{Outcome, Side},
    peer::Peer,
    site::{Resource, Site},
    target::split_port,
    trace::{self, Span},
};

/// AWS bills each started 10 MiB of a response as one request.
pub const BILLED_UNIT: u64 = 10 * 1024 * 1024;

/// One request and what became of it.
#[derive(Debug)]
pub struct Context {
    /// When the head was complete.
    pub opened: Tick,
    /// The same by the wall clock.
    pub opened_wall: Wall,
    /// `$context.requestId`.
    pub request_id: RequestId,
    /// Set when the client asked for a request id that isn't a UUID; AWS marks this in the logs.
    pub replaced_request_id: bool,
    /// `$context.extendedRequestId`.
    pub extended_id: ExtendedId,
    /// `X-Amzn-Trace-Id`: the client's if well-formed, else a root from its `traceparent`, else a new one.
    pub trace: SmallVec<[u8; 40]>,
    /// The request's span, if it is traced.
    pub span: Option<Box<Span>>,
    /// The client's connection.
    pub peer: Arc<Peer>,
    /// The client's address by the word of trusted proxies, if there are any.
    pub told_ip: Option<Box<str>>,
    /// The request as it came.
    pub head: RequestHead,
    /// The method that routes: the client's, or its `X-HTTP-Method-Override`.
    pub method: Method,
    /// The API that answers, once found.
    pub site: Option<Arc<Site>>,
    /// The resource that answers, once found.
    pub resource: Option<Arc<Resource>>,
    /// Where in the target's path each of the resource's parameters stands.
    pub parameters: SmallVec<[Range<u32>; 4]>,
    /// The integration's part.
    pub integration: IntegrationFacts,
    /// Why the gateway answered itself.
    pub fault: Option<Fault>,
    /// The status that was sent.
    pub status: Option<u16>,
    /// How the response was passed on, once it has ended.
    pub transfer: Transfer,
    /// How and when it ended.
    pub end: Option<(Outcome, Tick)>,
}

/// Milestones of the integration, all as absolute times.
#[derive(Debug, Default)]
pub struct IntegrationFacts {
    /// `BUFFERED` or `STREAMED`, once the route is known.
    pub transfer_mode: Option<&'static str>,
    /// When the call began, a connection's establishment included.
    pub started: Option<Tick>,
    /// When its head was complete.
    pub all_headers: Option<Tick>,
    /// When its answer was complete, cut or given up.
    pub ended: Option<Tick>,
    /// The backend's status.
    pub status: Option<u16>,
    /// The status of the Lambda API's own answer.
    pub endpoint_status: Option<u16>,
    /// The id under which Lambda was called.
    pub request_id: Option<RequestId>,
    /// What went wrong there, in words.
    pub error: Option<Box<str>>,
}

/// How a response that is passed on as it arrives is logged.
pub const STREAMED: &str = "STREAMED";

/// How a response was passed on. Times in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer {
    /// Payload bytes given to the client's connection.
    pub bytes: u64,
    /// How often payload arrived from the integration.
    pub chunks: u64,
    /// When the first payload arrived.
    pub first_content: Option<Tick>,
    /// The longest time between two arrivals.
    pub longest_gap: u64,
    /// How long the shaper held the stream back.
    pub throttled: u64,
    /// How long the client accepted nothing.
    pub blocked_on_client: u64,
    /// How long there was nothing from the integration.
    pub blocked_on_integration: u64,
}

impl Context {
    /// Opens the context of a request whose head is complete.
    ///
    /// It is large, and so stays in one place from here on.
    pub fn open(peer: Arc<Peer>, head: RequestHead) -> Box<Context> {
        let opened_wall = Wall::now();
        let asked = head.fields.get(Known::XAmznRequestId);
        let taken = asked.and_then(RequestId::from_client);
        let trace = match head.fields.get(Known::XAmznTraceId) {
            Some(value) if is_trace_header(value) => SmallVec::from_slice(value),
            _ => SmallVec::from_buf(
                trace::said(&head.fields)
                    .and_then(trace::root_of)
                    .unwrap_or_else(|| new_trace_root(opened_wall)),
            ),
        };
        Box::new(Context {
            opened: Tick::recent(),
            opened_wall,
            replaced_request_id: asked.is_some() && taken.is_none(),
            request_id: taken.unwrap_or_else(RequestId::random),
            extended_id: ExtendedId::random(),
            trace,
            span: None,
            method: head.method.clone(),
            peer,
            told_ip: None,
            head,
            site: None,
            resource: None,
            parameters: SmallVec::new(),
            integration: IntegrationFacts::default(),
            fault: None,
            status: None,
            transfer: Transfer::default(),
            end: None,
        })
    }

    /// Whether the request reached an integration whose response is streamed.
    pub fn is_streamed(&self) -> bool {
        self.integration.transfer_mode == Some(STREAMED)
    }

    /// Takes the word of the last `hops` proxies about the client's address: each has appended the address of its own
    /// peer to `X-Forwarded-For`, so that what clients write themselves stands before it.
    pub fn trust(&mut self, hops: usize) {
        if hops == 0 {
            return;
        }
        let fields = &self.head.fields;
        let chain: Vec<&[u8]> = fields
            .all(Known::XForwardedFor)
            .flat_map(list_members)
            .collect();
        let told = chain.get(chain.len().saturating_sub(hops)).copied();
        self.told_ip = told
            .and_then(|text| std::str::from_utf8(text).ok()?.parse::<IpAddr>().ok())
            .map(|ip| ip.to_canonical().to_string().into());
    }

    /// `$context.identity.sourceIp`.
    pub fn source_ip(&self) -> &str {
        self.told_ip.as_deref().unwrap_or(&self.peer.ip)
    }

    /// The raw value of a path parameter.
    pub fn path_parameter(&self, name: &str) -> Option<&str> {
        let at = self
            .resource
            .as_ref()?
            .parameters
            .iter()
            .position(|parameter| &**parameter == name)?;
        let place = self.parameters.get(at)?;
        self.head
            .target
            .path()
            .get(place.start as usize..place.end as usize)
    }

    /// The host the client asked for, without its port.
    pub fn domain_name(&self) -> &str {
        split_port(&self.head.authority).0
    }

    /// Whether the request was answered in full, and nothing went wrong.
    pub fn is_flawless(&self) -> bool {
        let is_complete = matches!(self.end, Some((Outcome::Complete, _)));
        is_complete && self.fault.is_none() && self.integration.error.is_none()
    }

    /// Who is responsible for how the request ended, where that is somebody's fault.
    pub fn side(&self) -> Option<Side> {
        let of_fault = self.fault.as_ref().map(|fault| fault.kind.row().side);
        of_fault.or_else(|| self.end?.0.side())
    }

    /// The trace id without `Root=`, as `$context.xrayTraceId`.
    pub fn trace_root(&self) -> &[u8] {
        const LENGTH: usize = 35;
        // Few clients say anything before it.
        if let Some(root) = self.trace.strip_prefix(b"Root=") {
            return root.get(..LENGTH).unwrap_or_default();
        }
        let mut parts = self.trace.split(|byte| *byte == b';');
        parts
            .find_map(|part| part.trim_ascii().strip_prefix(b"Root="))
            .unwrap_or_default()
    }

    /// Milliseconds from the integration's start to `at`.
    pub fn integration_millis(&self, at: Option<Tick>) -> Option<u64> {
        Some(at?.millis_since(self.integration.started?))
    }
}
