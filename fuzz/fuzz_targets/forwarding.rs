//! What the gateway sends to a backend and passes back: heads that its own gate takes, without what belongs to one
//! connection, whatever the client or the backend said.

#![no_main]

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use http::Method;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use sluicegate::{
    config::{
        build::{Overrides, load_text},
        model::{HttpProxy, Integration},
    },
    integration::http_proxy::{Identity, request, response},
    server::gate::{Sizes, judge},
    stream::request_body::RequestBody,
    types::{
        context::Context,
        fields::{Fields, is_field_value},
        known::Known,
        peer::{Peer, Serves},
        site::Resource,
        target::climbs,
    },
};
use sluicegate_fuzz::{assert_sound, fields_of};

const DOCUMENT: &str = r#"
openapi: 3.0.1
info: { title: fuzz, version: "1" }
paths:
  /{p}/{q}:
    get:
      parameters:
        - { name: p, in: path, required: true, schema: { type: string } }
        - { name: q, in: path, required: true, schema: { type: string } }
      x-amazon-apigateway-integration:
        type: http_proxy
        httpMethod: POST
        uri: http://backend.example:9000/base/{p}{h}/.{h}/end?fixed=1&q={q}
        requestParameters:
          integration.request.path.p: method.request.path.p
          integration.request.path.h: method.request.header.h
          integration.request.path.q: method.request.path.q
          integration.request.querystring.x: method.request.multivaluequerystring.x
          integration.request.querystring.b: method.request.body.b
          integration.request.header.X-Mapped: method.request.querystring.x
          integration.request.header.X-Many: method.request.multivalueheader.h
          integration.request.header.X-Body: method.request.body
          integration.request.header.X-Agent: context.identity.userAgent
"#;

static MODEL: LazyLock<HttpProxy> = LazyLock::new(|| {
    let loaded = load_text(
        "fuzz",
        DOCUMENT,
        Path::new("nowhere"),
        &Overrides::default(),
    );
    let model = loaded
        .model
        .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    match &model.apis[0].methods[0].integration {
        Integration::HttpProxy(proxy) => (**proxy).clone(),
        other => panic!("{other:?}"),
    }
});

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    has_body: bool,
    pass_underscores: bool,
    body: &'a [u8],
    target: &'a [u8],
    lines: &'a [u8],
}

/// The path's first two segments are the parameters.
fn context(input: &Input<'_>) -> Box<Context> {
    let address = SocketAddr::from(([192, 0, 2, 1], 4000));
    let peer = Peer::new(address, address, None, Serves::Apis);
    let mut head = sluicegate_fuzz::request(input.target, fields_of(input.lines));
    // As the pipeline does it first.
    head.fields.drop_nominated();
    let mut context = Context::open(Arc::new(peer), head);
    let mut at = 1;
    for segment in context.head.target.path().split('/').skip(1).take(2) {
        let end = at + segment.len() as u32;
        context.parameters.push(at..end);
        at = end + 1;
    }
    context.resource = Some(Arc::new(Resource {
        parameters: vec!["p".into(), "q".into()],
        ..Resource::default()
    }));
    context
}

/// Whether a server that decodes dots and resolves them stays below the path of the URI.
fn stays_below_base(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let Some(below) = path.strip_prefix("/base/") else {
        return false;
    };
    // The values are of one segment each.
    !climbs(below) && below.ends_with("/end") && below.matches('/').count() == 2
}

fn assert_request(input: &Input<'_>, context: &Context) {
    let identity = Identity {
        instance_id: "fuzz".into(),
        pass_underscores: input.pass_underscores,
        trusted_hops: 0,
    };
    let whole = Bytes::copy_from_slice(input.body);
    let body = if input.has_body {
        RequestBody::whole(whole.clone())
    } else {
        RequestBody::empty()
    };
    let Ok(sent) = request::build(&MODEL, &identity, context, body, Some(&whole)) else {
        return;
    };
    assert_sound(&sent.fields);
    assert!(stays_below_base(&sent.target), "{}", sent.target);
    let head = [
        format!("{} {} HTTP/1.1\r\n", sent.method, sent.target).as_bytes(),
        sent.fields.wire(),
        b"\r\n",
    ]
    .concat();
    let sizes = Sizes {
        line: 1 << 20,
        fields: 1 << 20,
    };
    let judged = judge(&head, sizes).map_err(|refused| refused.fault);
    let taken = judged.expect("the gate takes it").expect("it is complete");
    assert_eq!((taken.length, taken.framing.is_some()), (head.len(), false));
    assert_eq!(taken.head.method, Method::POST);
    assert_eq!(&*taken.head.authority, "backend.example:9000");
    for field in sent.fields.iter() {
        let is_ours = field.value == b"TE" && field.known == Known::Connection
            || field.value == b"trailers" && field.known == Known::Te;
        assert!(!field.known.is_hop_by_hop() || is_ours, "{field:?}");
        assert!(!field.resembles_framing());
        assert!(input.pass_underscores || !field.name.contains(&b'_'));
    }
    let one = |known| {
        let mut values = sent.fields.all(known);
        let value = values.next().expect("it is there");
        assert!(values.next().is_none());
        value
    };
    assert!(one(Known::XForwardedFor).ends_with(b"192.0.2.1"));
    assert!(one(Known::Via).ends_with(b"1.1 fuzz"));
    assert_eq!(one(Known::XForwardedProto), b"http");
    assert!(is_field_value(one(Known::XAmznTraceId)));
}

fn assert_response(lines: &[u8]) {
    let mut reply = Fields::default();
    response::pass_on(fields_of(lines), &mut reply);
    assert_sound(&reply);
    for field in reply.iter() {
        assert!(!field.known.is_hop_by_hop() && field.known != Known::ContentLength);
    }
}

fuzz_target!(|input: Input<'_>| {
    assert_request(&input, &context(&input));
    assert_response(input.lines);
});
