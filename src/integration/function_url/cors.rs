//! Cross-origin resource sharing of a function URL: preflight requests are answered without the function, and what it
//! says of CORS itself is overridden (page "Creating and managing Lambda function URLs").

use crate::{
    config::model::Cors,
    types::fields::{Fields, list_members},
};

const PREFIX: &[u8] = b"access-control-";

/// The answer's fields to a preflight request; `None` for any other.
pub(super) fn preflight(cors: &Cors, method: &http::Method, request: &Fields) -> Option<Fields> {
    let wanted = request.named(b"access-control-request-method").next()?;
    if method != http::Method::OPTIONS || request.named(b"origin").next().is_none() {
        return None;
    }
    let mut fields = Fields::with_capacity(256);
    if !allow_origin(cors, request, &mut fields) {
        return Some(fields);
    }
    let headers = request.named(b"access-control-request-headers").next();
    list(&mut fields, "Methods", &cors.allow_methods, cors, wanted);
    list(
        &mut fields,
        "Headers",
        &cors.allow_headers,
        cors,
        headers.unwrap_or_default(),
    );
    expose(cors, &mut fields);
    if let Some(seconds) = cors.max_age {
        fields.push(b"Access-Control-Max-Age", seconds.to_string().as_bytes());
    }
    Some(fields)
}

/// Says in a reply what the configuration has to say, and nothing else.
pub(super) fn override_reply(cors: &Cors, request: &Fields, reply: &mut Fields) {
    reply.retain(|field| {
        let prefix = field.name.get(..PREFIX.len());
        !prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
    });
    if allow_origin(cors, request, reply) {
        expose(cors, reply);
    }
}

/// Allows the request's origin, if it has one that is allowed.
fn allow_origin(cors: &Cors, request: &Fields, reply: &mut Fields) -> bool {
    let is_any = cors.allow_origins.iter().any(|own| &**own == "*");
    // With credentials, browsers don't take `*` for everybody.
    let is_the_same_for_all = is_any && !cors.allow_credentials;
    if !is_the_same_for_all {
        vary(reply);
    }
    let Some(origin) = request.named(b"origin").next() else {
        return false;
    };
    let is_listed = |own: &str| own.as_bytes().eq_ignore_ascii_case(origin);
    if !is_any && !cors.allow_origins.iter().any(|own| is_listed(own)) {
        return false;
    }
    let allowed = if is_the_same_for_all { b"*" } else { origin };
    reply.push(b"Access-Control-Allow-Origin", allowed);
    if cors.allow_credentials {
        reply.push(b"Access-Control-Allow-Credentials", b"true");
    }
    true
}

/// The answer depends on who asks.
fn vary(reply: &mut Fields) {
    let has = reply
        .named(b"vary")
        .flat_map(list_members)
        .any(|name| name.eq_ignore_ascii_case(b"origin") || name == b"*");
    if !has {
        reply.push(b"Vary", b"Origin");
    }
}

/// What is allowed, or what is asked for if everything is and `*` wouldn't be taken for it.
fn list(reply: &mut Fields, what: &str, allowed: &[Box<str>], cors: &Cors, asked: &[u8]) {
    let is_any = allowed.iter().any(|own| &**own == "*");
    let name = format!("Access-Control-Allow-{what}");
    if is_any && cors.allow_credentials {
        if !asked.is_empty() {
            reply.push(name.as_bytes(), asked);
        }
    } else if !allowed.is_empty() {
        reply.push(name.as_bytes(), allowed.join(",").as_bytes());
    }
}

fn expose(cors: &Cors, reply: &mut Fields) {
    if !cors.expose_headers.is_empty() {
        let names = cors.expose_headers.join(",");
        reply.push(b"Access-Control-Expose-Headers", names.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).into()).collect();
        Cors {
            allow_credentials: false,
            allow_headers: texts(&["x-one", "x-two"]),
            allow_methods: texts(&["GET", "POST"]),
            allow_origins: texts(origins),
            expose_headers: texts(&["x-three"]),
            max_age: Some(60),
        }
    }

    fn fields(lines: &str) -> Fields {
        let block = format!("{lines}\r\n");
        Fields::parse(block.as_bytes(), 100).unwrap().unwrap().0
    }

    fn text(fields: &Fields) -> String {
        String::from_utf8_lossy(fields.wire()).into_owned()
    }

    const PREFLIGHT: &str = "Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\
        Access-Control-Request-Headers: x-four\r\n";

    fn asked(cors: &Cors) -> String {
        text(&preflight(cors, &Method::OPTIONS, &fields(PREFLIGHT)).unwrap())
    }

    #[test]
    fn a_preflight_request_is_answered_from_the_configuration() {
        let same_for_all = "Access-Control-Allow-Methods: GET,POST\r\nAccess-Control-Allow-Headers: x-one,x-two\r\n\
            Access-Control-Expose-Headers: x-three\r\nAccess-Control-Max-Age: 60\r\n";
        assert_eq!(
            asked(&cors(&["*"])),
            format!("Access-Control-Allow-Origin: *\r\n{same_for_all}")
        );
        assert_eq!(
            asked(&cors(&["https://b.example", "https://a.example"])),
            format!(
                "Vary: Origin\r\nAccess-Control-Allow-Origin: https://a.example\r\n{same_for_all}"
            )
        );
        assert_eq!(asked(&cors(&["https://b.example"])), "Vary: Origin\r\n");
    }

    #[test]
    fn with_credentials_the_wildcard_is_spelt_out() {
        let mut cors = cors(&["*"]);
        cors.allow_credentials = true;
        cors.allow_methods = vec!["*".into()];
        cors.allow_headers = vec!["*".into()];
        cors.expose_headers.clear();
        cors.max_age = None;
        assert_eq!(
            asked(&cors),
            "Vary: Origin\r\nAccess-Control-Allow-Origin: https://a.example\r\nAccess-Control-Allow-Credentials: true\r\n\
             Access-Control-Allow-Methods: PUT\r\nAccess-Control-Allow-Headers: x-four\r\n"
        );
    }

    #[test]
    fn other_options_requests_are_the_functions() {
        let cors = cors(&["*"]);
        let origin = fields("Origin: https://a.example\r\n");
        assert!(preflight(&cors, &Method::OPTIONS, &origin).is_none());
        assert!(preflight(&cors, &Method::GET, &fields(PREFLIGHT)).is_none());
        let unoriginal = fields("Access-Control-Request-Method: PUT\r\n");
        assert!(preflight(&cors, &Method::OPTIONS, &unoriginal).is_none());
    }

    #[test]
    fn the_configuration_overrides_what_the_function_says() {
        let said = "access-control-allow-origin: https://evil.example\r\nAccess-Control-Allow-Methods: DELETE\r\nX-A: b\r\n";
        let after = |request: &str, cors: &Cors| {
            let mut reply = fields(said);
            override_reply(cors, &fields(request), &mut reply);
            text(&reply)
        };
        let origin = "Origin: https://a.example\r\n";
        assert_eq!(
            after(origin, &cors(&["*"])),
            "X-A: b\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: x-three\r\n"
        );
        assert_eq!(
            after(origin, &cors(&["https://b.example"])),
            "X-A: b\r\nVary: Origin\r\n"
        );
        assert_eq!(after("", &cors(&["*"])), "X-A: b\r\n");
    }
}
