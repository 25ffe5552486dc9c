//! Requests for the tests of function URLs.

use std::sync::{Arc, OnceLock};

use http::{Method, Version};
use tokio::runtime::Runtime;

use super::{Reached, name_in_path};
use crate::{
    config::model::{self, Cors, FunctionTarget, FunctionUrl, RemoteFunction, TransferMode},
    integration::function::Direct,
    lambda::{
        function::{Function, Target},
        remote::Remote,
    },
    stream::shaper::Bandwidth,
    types::{
        context::Context,
        fields::Fields,
        head::RequestHead,
        peer::{Peer, Serves},
        target::Target as RequestTarget,
    },
};

/// Where functions would be looked after.
static CONTROL: OnceLock<Runtime> = OnceLock::new();

/// A request with these header lines.
pub(super) fn context(method: &str, target: &str, lines: &str) -> Context {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let fields = Fields::parse(format!("{lines}\r\n").as_bytes(), 100);
    let head = RequestHead {
        target: RequestTarget::parse(&method, target.as_bytes()).unwrap().0,
        method,
        authority: "api.example.com:8080".into(),
        version: Version::HTTP_11,
        fields: fields.unwrap().unwrap().0,
    };
    let address = "192.0.2.1:4000".parse().unwrap();
    let peer = Peer::new(address, address, None, Serves::Both);
    *Context::open(Arc::new(peer), head)
}

/// The URL of a function elsewhere.
pub(super) fn url(mode: TransferMode, cors: Option<Cors>) -> FunctionUrl {
    FunctionUrl {
        id: "echo".into(),
        is_open: true,
        mode,
        cors,
        streamed_response: 200 * 1024 * 1024,
        bandwidth: Bandwidth::LAMBDA,
    }
}

/// The function URL that a request reaches by its path.
pub(super) fn by_path(context: &Context) -> Reached {
    let (name, from) = name_in_path(context.head.target.path()).unwrap();
    reached(name, from, url(TransferMode::Buffered, None))
}

/// A URL of the function `name`, whose path begins at `from`.
pub(super) fn reached(name: &str, from: usize, url: FunctionUrl) -> Reached {
    let remote = RemoteFunction {
        endpoint: None,
        function_name: None,
        region: None,
        usual_region: None,
        profile: None,
    };
    let model = model::Function {
        name: name.into(),
        arn: format!("arn:aws:lambda:us-east-1:123456789012:function:{name}").into(),
        target: FunctionTarget::Remote(remote.clone()),
        url: Some(url),
    };
    let control = CONTROL.get_or_init(|| Runtime::new().unwrap());
    let function = Function {
        name: name.into(),
        target: Target::Remote(Remote::new(&remote, control.handle())),
    };
    Reached {
        direct: Arc::new(Direct::new(&model, Arc::new(function))),
        id: name.into(),
        from,
        own_domain: Some(format!("{name}.lambda-url.us-east-1.on.aws").into()),
    }
}
