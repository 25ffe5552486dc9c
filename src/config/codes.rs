//! Every finding the loader can report, with its code. `docs/diagnostics.md` has a cause and a cure for each.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A trap: it works, though perhaps not as meant.
    Warning,
    /// One method can't be served: requests to it are answered 500, all others work.
    MethodError,
    /// The gateway can't start with it.
    Error,
}

macro_rules! codes {
    ($($code:ident $severity:ident $text:literal;)*) => {
        /// A finding's code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "`summary` says what each code is")]
        pub enum Code { $($code,)* }

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$code,)*];

            /// The code as it is shown, such as `E031`.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$code => stringify!($code),)* }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Code::$code => Severity::$severity,)* }
            }

            /// What it is, in a few words.
            pub fn summary(self) -> &'static str {
                match self { $(Code::$code => $text,)* }
            }
        }
    };
}

codes! {
    E001 Error "a file can't be read";
    E002 Error "a file isn't valid YAML or JSON";
    E003 Error "a key stands twice in one mapping";
    E004 Error "a file is too large, too deep or has too many aliases";
    E010 Error "an unknown key";
    E011 Error "a value of the wrong type";
    E012 Error "a required key is missing";
    E013 Error "a value that isn't one of those allowed";
    E014 Error "a number outside its range";
    E015 Error "a text that isn't in the form it needs";
    E016 Error "two entries claim the same place";
    E017 Error "a certificate or key can't be used";
    E020 Error "not an OpenAPI document";
    E021 Error "an OpenAPI version that isn't supported";
    E022 Error "a CloudFormation or SAM template";
    E023 Error "a document for HTTP APIs only";
    E024 MethodError "a reference that can't be followed";
    E025 MethodError "a CloudFormation value without a binding";
    E026 MethodError "a path template that API Gateway rejects";
    E027 MethodError "two variable children of one resource";
    E028 MethodError "the same resource and method twice";
    E030 MethodError "an integration without a known type";
    E031 MethodError "an integration type that isn't supported";
    E032 MethodError "STREAM on an integration that can't stream";
    E033 MethodError "a timeout outside its range";
    E034 MethodError "a Lambda URI and a transfer mode that don't agree";
    E035 MethodError "an integration URI that can't be used";
    E036 MethodError "a placeholder in the URI that isn't mapped";
    E037 MethodError "a host that the client would choose";
    E038 MethodError "a parameter mapping that API Gateway rejects";
    E039 MethodError "a template that needs VTL";
    E040 MethodError "a VPC link that isn't configured";
    E041 MethodError "a check that isn't enforced yet";
    E042 MethodError "an integration method that fails on AWS";
    E043 MethodError "a gateway response that API Gateway rejects";
    E044 MethodError "a mapping from the request body in STREAM mode";
    E045 MethodError "an integration value that API Gateway rejects";
    W101 Warning "a stream that is cut after 29 seconds";
    W102 Warning "a catch-all that also answers for other resources";
    W103 Warning "content encoding doesn't apply to streams";
    W104 Warning "caching doesn't apply";
    W105 Warning "templates that a proxy integration ignores";
    W106 Warning "parameter mappings that AWS ignores";
    W107 Warning "a mapping that turns every request into a 500";
    W108 Warning "responses that a proxy integration ignores";
    W109 Warning "an operation without an integration";
    W110 Warning "a mapping source that the method doesn't declare";
    W111 Warning "a Lambda function that isn't configured";
    W112 Warning "a method served without its checks";
    W113 Warning "a timeout that needs a raised quota on AWS";
    W114 Warning "an extension key that API Gateway doesn't know";
    W115 Warning "an integration that points at this gateway";
    W116 Warning "a stage variable without a value";
    W117 Warning "root-level security, which API Gateway ignores";
    W118 Warning "an unknown variable in a template";
    W119 Warning "a mapped header that is never sent";
    W120 Warning "a document larger than API Gateway imports";
    W121 Warning "an access log without a request id";
    W122 Warning "a method that API Gateway doesn't import";
    W123 Warning "a value that a stage or an environment can't keep";
    W124 Warning "a MOCK without a status";
    W125 Warning "traces that this build can't send";
    W126 Warning "a certificate or revocation list out of its time";
}

impl Code {
    /// The code of this name.
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}
