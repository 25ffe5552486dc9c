//! Functions without an API: function URLs and the Invoke API, looked for before the APIs on listeners that serve them.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    refuse::closes,
    reply::{Answer, Reply},
    snapshot::Shared,
};
use crate::{
    config::model::{LambdaFront, Model, TransferMode},
    integration::{
        function::{Answered, Direct, Refused},
        function_url::{self, Reached, id_in_host, name_in_path},
        invoke_api::{self, Invoke, Operation},
    },
    lambda::function::Function,
    stream::{clocks::Clocks, request_body::RequestBody, streamed::StreamedBody},
    telemetry::{
        metrics::{self, Route, Shard},
        record::Record,
    },
    types::{context::Context, fault::Fault},
};

/// The functions that can be reached without an API.
#[derive(Debug, Default)]
pub struct Fronts {
    by_name: BTreeMap<Box<str>, Arc<Direct>>,
    /// Those with a URL, by its id.
    by_id: BTreeMap<Box<str>, Arc<Direct>>,
    counts: BTreeMap<Box<str>, Counts>,
    place: LambdaFront,
}

/// Where a function's calls are counted.
#[derive(Debug)]
struct Counts {
    url: Arc<Shard>,
    invoke: Arc<Shard>,
}

impl Counts {
    fn of(name: &str) -> Counts {
        let shard = |resource: String, verb| metrics::shard(Route::direct(&resource, verb));
        Counts {
            url: shard(format!("/lambda-url/{name}"), "ANY"),
            invoke: shard(format!("/functions/{name}/invocations"), "POST"),
        }
    }
}

/// What a request is for.
#[derive(Debug)]
pub(super) enum Front {
    /// A function URL.
    Url(Reached),
    /// A call of the Invoke API.
    Invoke(Operation),
    /// A function URL that there isn't.
    NoUrl,
    /// Anything else, where nothing else is served.
    Nothing,
}

impl Fronts {
    /// The functions of a model.
    pub(super) fn new(model: &Model, shared: &Shared) -> Fronts {
        let direct = |function: &Arc<Function>| {
            let model = model.functions.get(&function.name)?;
            let direct = Direct::new(model, function.clone());
            Some((function.name.clone(), Arc::new(direct)))
        };
        let by_name: BTreeMap<Box<str>, Arc<Direct>> =
            shared.functions.values().filter_map(direct).collect();
        let with_url = by_name.values().filter_map(|direct| {
            let id = direct.url.as_ref()?.id.clone();
            Some((id, direct.clone()))
        });
        let counts = by_name.keys().map(|name| (name.clone(), Counts::of(name)));
        Fronts {
            by_id: with_url.collect(),
            counts: counts.collect(),
            by_name,
            place: model.lambda.clone(),
        }
    }

    /// Which of them a request is for; `None` leaves it to the APIs.
    pub(super) fn find(&self, context: &Context) -> Option<Front> {
        let serves = context.peer.serves;
        if !serves.functions() {
            return None;
        }
        let path = context.head.target.path();
        if let Some(id) = id_in_host(&context.head.authority) {
            let direct = self.by_id.get(id.to_ascii_lowercase().as_str());
            return Some(direct.map_or(Front::NoUrl, |direct| self.reached(direct, 0, true)));
        }
        if let Some((name, from)) = name_in_path(path) {
            match self.by_name.get(name).filter(|it| it.url.is_some()) {
                Some(direct) => return Some(self.reached(direct, from, false)),
                None if !serves.apis() => return Some(Front::NoUrl),
                None => {}
            }
        }
        let operation = Operation::of(&context.head.method, &context.head.target);
        let front = operation.map(Front::Invoke);
        front.or_else(|| (!serves.apis()).then_some(Front::Nothing))
    }

    fn reached(&self, direct: &Arc<Direct>, from: usize, is_by_host: bool) -> Front {
        let id = direct.url.as_ref().map_or("", |url| &*url.id);
        let domain = || format!("{id}.lambda-url.{}.on.aws", self.place.region).into();
        Front::Url(Reached {
            direct: direct.clone(),
            id: id.into(),
            from,
            own_domain: (!is_by_host).then(domain),
        })
    }

    /// Answers a request.
    pub(super) async fn serve(
        &self,
        front: Front,
        mut record: Record,
        body: RequestBody,
        clocks: Arc<Clocks>,
    ) -> Reply {
        self.count(&front, &mut record);
        record.go_live(&clocks);
        let context = record.context_mut();
        let answered = match &front {
            Front::Url(reached) => reached.call(context, body, &clocks).await,
            Front::Invoke(operation) => {
                let invoke = Invoke {
                    operation,
                    direct: self.by_name.get(&operation.name),
                    arn: self.arn(&operation.name),
                };
                invoke.call(context, body, &clocks).await
            }
            Front::NoUrl => Err(function_url::unknown("there is no such function URL")),
            Front::Nothing => Err(invoke_api::unknown_operation(
                "this address serves function URLs, `Invoke` and `InvokeWithResponseStream` only",
            )),
        };
        match answered {
            Ok(answered) => Reply::answer(record, pass_on(answered, &clocks), clocks),
            Err(refused) => refuse(record, refused, clocks),
        }
    }

    /// Refuses a request because of the gateway itself.
    pub(super) fn turn_away(
        &self,
        front: &Front,
        mut record: Record,
        fault: Fault,
        clocks: Arc<Clocks>,
    ) -> Reply {
        self.count(front, &mut record);
        let refused = match front {
            Front::Url(_) | Front::NoUrl => function_url::refused(fault),
            Front::Invoke(_) | Front::Nothing => invoke_api::refused(fault),
        };
        refuse(record, refused, clocks)
    }

    /// Says where a call counts, and whether as a stream.
    fn count(&self, front: &Front, record: &mut Record) {
        let (direct, mode, shard): (_, _, fn(&Counts) -> &Arc<Shard>) = match front {
            Front::Url(reached) => {
                let mode = reached.direct.url.as_ref().map(|url| url.mode);
                (Some(&reached.direct), mode, |counts| &counts.url)
            }
            Front::Invoke(operation) => {
                let direct = self.by_name.get(&operation.name);
                (direct, Some(operation.mode), |counts| &counts.invoke)
            }
            Front::NoUrl | Front::Nothing => return,
        };
        let counts = direct.and_then(|direct| self.counts.get(&direct.function.name));
        if let Some(counts) = counts {
            record.count_in(shard(counts));
            let facts = &mut record.context_mut().integration;
            facts.transfer_mode = mode.map(TransferMode::logged);
        }
    }

    fn arn(&self, name: &str) -> String {
        let LambdaFront { region, account_id } = &self.place;
        format!("arn:aws:lambda:{region}:{account_id}:function:{name}")
    }
}

fn pass_on(answered: Answered, clocks: &Arc<Clocks>) -> Answer {
    let answer = match answered {
        Answered::Whole(status, fields, body) => {
            clocks.detach();
            Answer::whole(status, fields, body)
        }
        Answered::Stream(status, fields, payload, bandwidth) => {
            let stream = StreamedBody::new(*payload, bandwidth, clocks.clone());
            Answer::streamed(status, fields, stream)
        }
    };
    answer.without_api()
}

fn refuse(mut record: Record, refused: Refused, clocks: Arc<Clocks>) -> Reply {
    let Refused {
        status,
        fields,
        body,
        fault,
    } = refused;
    let kind = fault.kind;
    record.context_mut().fault = Some(*fault);
    let answer = Answer::whole(status, fields, body).without_api();
    let mut reply = Reply::refused(record, answer, clocks, kind.row().outcome);
    reply.closes = closes(kind);
    reply
}
