//! Where a function's calls go: the endpoint, and the region that they are signed for.
//!
//! What the configuration says comes first, then the variables and the profile that AWS's own tools read. They are
//! looked at when the first call is made, since a gateway may start before they are needed.

use std::{
    env,
    sync::{Arc, Mutex, PoisonError},
};

use aws_config::{meta::region::ProvideRegion as _, profile::ProfileFileRegionProvider};
use tokio::{runtime::Handle, sync::OnceCell};

use crate::{
    config::{
        model::{Origin, RemoteFunction},
        uri::parse_origin,
    },
    types::fault::{Fault, FaultKind},
    upstream::{endpoint::Endpoint, send::Destination, tls::ClientTls},
};

/// An endpoint of the Invoke API.
#[derive(Debug)]
pub(super) struct Place {
    /// What is connected to.
    pub destination: Destination,
    /// `Host`.
    pub authority: Box<str>,
    /// What requests are signed for.
    pub region: Box<str>,
    /// Whether it is AWS, which takes no unsigned call.
    pub is_aws: bool,
}

/// The places of one function.
#[derive(Debug)]
pub(super) struct Places {
    endpoint: Option<Origin>,
    region: Option<Box<str>>,
    usual_region: Option<Box<str>>,
    profile: Option<Box<str>>,
    control: Handle,
    /// The region of the environment or the profile, once it was needed.
    usual: OnceCell<Option<Box<str>>>,
    /// Those found so far, rarely more than one.
    found: Mutex<Vec<Arc<Place>>>,
}

impl Places {
    pub(super) fn new(model: &RemoteFunction, control: &Handle) -> Places {
        Places {
            endpoint: model.endpoint.clone(),
            region: model.region.clone(),
            usual_region: model.usual_region.clone(),
            profile: model.profile.clone(),
            control: control.clone(),
            usual: OnceCell::new(),
            found: Mutex::default(),
        }
    }

    /// Where `function`, a name or an ARN, is called: in the region that is configured for it, else in its ARN's, else in
    /// the one that is configured for all, else in the environment's.
    pub(super) async fn find(&self, function: &str) -> Result<Arc<Place>, Fault> {
        let own = self.region.as_deref().or(region_of(function));
        let region = match own.or(self.usual_region.as_deref()) {
            Some(region) => Some(region),
            None => self.usual_region().await,
        };
        let known = |place: &&Arc<Place>| region.is_none_or(|region| *place.region == *region);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = found.iter().find(known) {
            return Ok(place.clone());
        }
        let place = Arc::new(self.open(region)?);
        found.push(place.clone());
        Ok(place)
    }

    async fn usual_region(&self) -> Option<&str> {
        let look_up = || async {
            let profile = self.profile.clone();
            let task = self.control.spawn(usual_region(profile));
            task.await.ok().flatten()
        };
        self.usual.get_or_init(look_up).await.as_deref()
    }

    fn open(&self, region: Option<&str>) -> Result<Place, Fault> {
        let own = match &self.endpoint {
            Some(origin) => Some(origin.clone()),
            None => endpoint_of_environment()?,
        };
        let region = match (region, &own) {
            (Some(region), _) => region,
            // Emulators rarely care.
            (None, Some(_)) => "us-east-1",
            (None, None) => return Err(no_region()),
        };
        let origin = match own {
            Some(origin) => origin,
            None => aws_origin(region)?,
        };
        let tls = origin
            .is_tls
            .then(|| Arc::new(ClientTls::new(false, None, None)));
        let endpoint = Endpoint::new(&origin.host, origin.port, tls);
        Ok(Place {
            destination: Destination::Endpoint(Arc::new(endpoint)),
            is_aws: is_aws(&origin.host),
            authority: origin.authority,
            region: region.into(),
        })
    }
}

fn no_region() -> Fault {
    Fault::because(
        FaultKind::Misconfigured,
        "no_region",
        "which AWS region the function is in isn't known: set its `region`, `AWS_REGION`, or a region in the AWS profile",
    )
}

/// The fourth part of `arn:aws:lambda:eu-west-1:123456789012:function:name`.
fn region_of(function: &str) -> Option<&str> {
    let mut parts = function.split(':');
    let is_arn = parts.next() == Some("arn");
    parts.nth(2).filter(|region| is_arn && !region.is_empty())
}

async fn usual_region(profile: Option<Box<str>>) -> Option<Box<str>> {
    let from_profile = |profile: Option<Box<str>>| async {
        let mut provider = ProfileFileRegionProvider::builder();
        if let Some(profile) = profile {
            provider = provider.profile_name(profile);
        }
        let region = provider.build().region().await?;
        Some(Box::from(region.as_ref()))
    };
    // A profile that is named for the function knows better than the environment.
    if profile.is_some()
        && let Some(region) = from_profile(profile).await
    {
        return Some(region);
    }
    match variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")) {
        Some(region) => Some(region.into()),
        None => from_profile(None).await,
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn endpoint_of_environment() -> Result<Option<Origin>, Fault> {
    if variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        .is_some_and(|it| it.eq_ignore_ascii_case("true"))
    {
        return Ok(None);
    }
    for name in ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"] {
        let Some(url) = variable(name) else { continue };
        return match parse_origin(&url) {
            Ok(origin) => Ok(Some(origin)),
            Err(_) => Err(Fault::new(
                FaultKind::Misconfigured,
                format!("`{name}` isn't the URL of an endpoint (`http://host:port`)"),
            )),
        };
    }
    Ok(None)
}

/// AWS's endpoint of a region. China is a partition with a domain of its own.
fn aws_origin(region: &str) -> Result<Origin, Fault> {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let url = format!("https://lambda.{region}.amazonaws.com{suffix}");
    let is_label = region
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    match parse_origin(&url) {
        Ok(origin) if is_label => Ok(origin),
        _ => Err(Fault::new(
            FaultKind::Misconfigured,
            format!("`{region}` can't be an AWS region"),
        )),
    }
}

fn is_aws(host: &str) -> bool {
    [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"]
        .iter()
        .any(|suffix| host.to_ascii_lowercase().ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(region: Option<&str>) -> Places {
        let model = RemoteFunction {
            endpoint: None,
            function_name: None,
            region: region.map(Into::into),
            usual_region: Some("eu-west-9".into()),
            profile: None,
        };
        Places::new(&model, &Handle::current())
    }

    #[tokio::test]
    async fn a_call_goes_to_the_region_that_is_said_or_else_to_the_arns() {
        let arn = "arn:aws-cn:lambda:cn-north-1:123456789012:function:f";
        for (region, function, host) in [
            (Some("eu-west-1"), "f", "lambda.eu-west-1.amazonaws.com"),
            (Some("eu-west-1"), arn, "lambda.eu-west-1.amazonaws.com"),
            (None, arn, "lambda.cn-north-1.amazonaws.com.cn"),
            (None, "f", "lambda.eu-west-9.amazonaws.com"),
        ] {
            let place = places(region).find(function).await.unwrap();
            assert_eq!((&*place.authority, place.is_aws), (host, true));
        }
        let odd = places(Some("evil.example/")).find("f").await.unwrap_err();
        assert_eq!(odd.kind, FaultKind::Misconfigured);
    }

    #[tokio::test]
    async fn each_region_has_one_endpoint_and_so_one_pool() {
        let places = places(None);
        let arn = |region: &str| format!("arn:aws:lambda:{region}:1:function:f");
        let first = places.find(&arn("eu-west-1")).await.unwrap();
        let other = places.find(&arn("eu-west-2")).await.unwrap();
        let again = places.find(&arn("eu-west-1")).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other));
    }

    #[test]
    fn only_arns_have_regions() {
        assert_eq!(
            region_of("arn:aws:lambda:eu-west-1:1:function:f"),
            Some("eu-west-1")
        );
        assert_eq!(region_of("f"), None);
        assert_eq!(region_of("123456789012:function:f:alias"), None);
    }
}
