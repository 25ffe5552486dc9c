//! Lines of the access log: one line each, and JSON where the format is, whatever clients, backends and documents say.

#![no_main]

use std::{net::SocketAddr, sync::Arc};

use http::Method;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use serde_json::Value;
use sluicegate::{
    config::presets,
    types::{
        clock::Tick,
        context::Context,
        fault::{Fault, FaultKind},
        fields::is_field_value,
        outcome::Outcome,
        peer::{Peer, Serves, TlsFacts},
        site::{Resource, Site},
        target::check_authority,
        template::{Escape, Template},
    },
};
use sluicegate_fuzz::{fields_of, request};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    format: &'a str,
    target: &'a [u8],
    method: &'a [u8],
    authority: &'a str,
    site: [&'a str; 3],
    error: Option<&'a str>,
    bytes: u64,
    agent: &'a [u8],
    lines: &'a [u8],
}

fn site(texts: [&str; 3]) -> Site {
    let [api, stage, value] = texts;
    Site {
        api_id: api.into(),
        stage: stage.into(),
        account_id: stage.into(),
        deployment_id: "abc123".into(),
        endpoint_type: "REGIONAL",
        base_path: format!("/{api}").into(),
        stage_variables: vec![("name".into(), value.into())],
        ..Site::default()
    }
}

fn context(input: &Input<'_>) -> Box<Context> {
    let address = SocketAddr::from(([192, 0, 2, 1], 4000));
    let tls = TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256".into(),
        server_name: None,
        client_certificate: None,
    };
    let peer = Arc::new(Peer::new(address, address, Some(tls), Serves::Apis));
    let mut fields = fields_of(input.lines);
    if is_field_value(input.agent) {
        fields.push(b"User-Agent", input.agent.trim_ascii());
    }
    let mut head = request(input.target, fields);
    // Others never get here.
    if check_authority(input.authority).is_ok() {
        head.authority = input.authority.into();
    }
    head.method = Method::from_bytes(input.method).unwrap_or_default();
    let mut context = Context::open(peer, head);
    context.trust(input.bytes as usize % 3);
    context.site = Some(Arc::new(site(input.site)));
    context.resource = Some(Arc::new(Resource {
        id: "abc123".into(),
        path: input.site[0].into(),
        ..Resource::default()
    }));
    context.integration.error = input.error.map(Into::into);
    context.fault = input
        .error
        .map(|error| Fault::new(FaultKind::BadHead, error));
    context.integration.started = Some(context.opened);
    context.transfer.bytes = input.bytes;
    context.status = Some(200);
    context.end = Some((Outcome::Complete, Tick::now()));
    context
}

fn render(format: &str, context: &Context, escape: Escape) -> String {
    let mut line = Vec::new();
    let (template, unknown) = Template::compile(format);
    for reference in unknown {
        assert!(format[reference.at..].starts_with(&reference.reference));
    }
    template.render(context, escape, &mut line);
    String::from_utf8(line).expect("a line is text")
}

fn assert_one_line(line: &str) {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(!line.contains(breaks), "{line:?}");
}

fuzz_target!(|input: Input<'_>| {
    let context = context(&input);
    let line = render(presets::JSON, &context, Escape::Log);
    assert_one_line(&line);
    let said: Value = serde_json::from_str(&line).expect("the line is JSON");
    assert_eq!(said["path"], context.head.target.path());
    let stage = Some(input.site[1]).filter(|text| !text.is_empty());
    assert_eq!(said["stage"], stage.unwrap_or("-"));
    let agent = context.head.fields.named(b"user-agent").next();
    if let Some(agent) = agent.and_then(|agent| std::str::from_utf8(agent).ok()) {
        assert_eq!(
            said["userAgent"],
            if agent.is_empty() { "-" } else { agent }
        );
    }
    for preset in [presets::CLF, presets::TEXT] {
        assert_one_line(&render(preset, &context, Escape::Log));
    }
    // A format's own line breaks are its author's.
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let format = input.format.replace(breaks, " ");
    assert_one_line(&render(&format, &context, Escape::Log));
    // Between quotes, whatever is substituted stays there.
    if !format.contains(['"', '\\', '\'']) && !format.contains("messageString") {
        let body = render(&format!("[\"{format}\"]"), &context, Escape::Json);
        let said: Value = serde_json::from_str(&body).expect("the body is JSON");
        assert_eq!(said.as_array().map(Vec::len), Some(1));
    }
});
