//! What calls are signed with, looked up when it is first needed and kept fresh.
//!
//! The sources are those of AWS's tools, in their order: environment, profile files (assumed roles, SSO and credential
//! processes among them), web identity, container, instance metadata. They are asked on the control thread, one lookup
//! at a time, whose result all who wait for it take. Credentials are renewed five minutes before they expire; if that
//! fails the old ones are used while they last.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_config::{
    Region,
    default_provider::credentials::DefaultCredentialsChain,
    imds::{self, client::error::ImdsError},
    profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials as _, SharedCredentialsProvider, error::CredentialsError},
};
use tokio::{runtime::Handle, sync::OnceCell, time::timeout};
use tracing::{Dispatch, instrument::WithSubscriber as _};

use super::place::Place;
use crate::types::{
    clock::{Tick, Wall},
    fault::{Fault, FaultKind, with_causes},
};

/// How long before their expiry credentials are renewed.
const MARGIN: Duration = Duration::from_secs(300);
/// The longest a lookup may take; an invocation's own deadline may end the wait for it earlier.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a lookup's result is taken for an answer before the sources are asked again.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a place that takes unsigned calls gets them before credentials are looked for again.
const UNSIGNED: Duration = Duration::from_secs(60);

/// The credentials of one function.
pub(super) struct Keeper {
    profile: Option<Box<str>>,
    control: Handle,
    provider: OnceCell<SharedCredentialsProvider>,
    state: Mutex<State>,
    /// Held by the lookup that is under way.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// When the last lookup ended, and why it failed if it did.
    last: Option<(Tick, Option<Fault>)>,
}

/// What a lookup found.
#[derive(Clone)]
struct Held {
    /// `None`: there are none, and none are needed.
    credentials: Option<Credentials>,
    /// Milliseconds since the epoch, or never.
    expires: Option<Wall>,
}

/// Whether what is held may be used.
enum Freshness {
    Fresh(Option<Credentials>),
    Due(Option<Credentials>),
    Missing,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Keeper {
    pub(super) fn new(profile: Option<Box<str>>, control: &Handle) -> Arc<Keeper> {
        Arc::new(Keeper {
            profile,
            control: control.clone(),
            provider: OnceCell::new(),
            state: Mutex::default(),
            turn: Arc::default(),
        })
    }

    /// What to sign a call with; `None` where none are found and `place` takes unsigned calls.
    pub(super) async fn credentials(
        self: &Arc<Self>,
        place: &Arc<Place>,
    ) -> Result<Option<Credentials>, Fault> {
        match self.freshness() {
            Freshness::Fresh(credentials) => Ok(credentials),
            Freshness::Due(credentials) => {
                self.renew(place);
                Ok(credentials)
            }
            Freshness::Missing => {
                let (keeper, place, began) = (self.clone(), place.clone(), Tick::now());
                // A task of its own: it goes on when the one who asked gives up, for those who ask next.
                let lookup = self.control.spawn(async move {
                    let _turn = keeper.turn.lock().await;
                    keeper.look_up_since(began, &place).await
                });
                lookup.await.unwrap_or_else(|_| Err(stopped()))
            }
        }
    }

    /// Looks up in the background, unless that is being done or was just done.
    fn renew(self: &Arc<Self>, place: &Arc<Place>) {
        let Ok(turn) = self.turn.clone().try_lock_owned() else {
            return;
        };
        if self.failure_since(Tick::now()).is_some() {
            return;
        }
        let (keeper, place) = (self.clone(), place.clone());
        self.control.spawn(async move {
            let _turn = turn;
            if let Err(fault) = keeper.look_up(&place).await {
                tracing::warn!(
                    "AWS credentials can't be renewed, the old ones are used until they expire: {fault}"
                );
            }
        });
    }

    /// The result of a lookup by somebody else that ended after `began`, or of a new one.
    async fn look_up_since(
        &self,
        began: Tick,
        place: &Place,
    ) -> Result<Option<Credentials>, Fault> {
        if let Freshness::Fresh(credentials) | Freshness::Due(credentials) = self.freshness() {
            return Ok(credentials);
        }
        match self.failure_since(began) {
            Some(fault) => Err(fault),
            None => self.look_up(place).await,
        }
    }

    async fn look_up(&self, place: &Place) -> Result<Option<Credentials>, Fault> {
        let was_held = self.state().held.is_some();
        // The sources' own log isn't passed on, so that nothing secret can get into ours.
        let asked = timeout(LIMIT, self.ask(place)).with_subscriber(Dispatch::none());
        let result = match asked.await {
            Err(_) => Err(late()),
            Ok(Ok(credentials)) => Ok(Held::of(credentials)),
            Ok(Err(error)) if !place.is_aws && are_nowhere(&error) => Ok(Held::nothing()),
            Ok(Err(error)) => Err(self.fault(&error, was_held)),
        };
        let mut state = self.state();
        state.last = Some((Tick::now(), result.as_ref().err().cloned()));
        let held = result?;
        state.held = Some(held.clone());
        Ok(held.credentials)
    }

    async fn ask(&self, place: &Place) -> Result<Credentials, CredentialsError> {
        let provider = self.provider.get_or_init(|| self.open(place)).await;
        provider.provide_credentials().await
    }

    async fn open(&self, place: &Place) -> SharedCredentialsProvider {
        let region = Region::new(place.region.to_string());
        if let Some(profile) = &self.profile {
            let config = ProviderConfig::without_region().with_region(Some(region));
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&config)
                .profile_name(profile.to_string());
            return SharedCredentialsProvider::new(provider.build());
        }
        let mut chain = DefaultCredentialsChain::builder().region(region);
        if !place.is_aws {
            // Where unsigned calls will do, nobody should wait long for a metadata service that isn't there.
            let brief = Duration::from_millis(300);
            let client = imds::Client::builder()
                .max_attempts(1)
                .connect_timeout(brief)
                .read_timeout(brief);
            chain = chain.imds_client(client.build());
        }
        SharedCredentialsProvider::new(chain.build().await)
    }

    fn fault(&self, error: &CredentialsError, was_held: bool) -> Fault {
        let sources = match &self.profile {
            Some(profile) => format!("the AWS profile `{profile}`"),
            None => "the environment (`AWS_ACCESS_KEY_ID`), the AWS profile, web identity, the container's and the instance's role".to_owned(),
        };
        let why = with_causes(error);
        let (kind, reason, what) = match error {
            _ if was_held => (
                FaultKind::BadAnswer,
                "credentials_expired",
                "the AWS credentials have expired and no new ones are given by",
            ),
            CredentialsError::CredentialsNotLoaded(_) => (
                FaultKind::Misconfigured,
                "no_credentials",
                "there are no AWS credentials to call the function with; looked for in",
            ),
            _ => (
                FaultKind::BadAnswer,
                "credentials_failed",
                "AWS credentials to call the function with couldn't be got from",
            ),
        };
        Fault::because(kind, reason, format!("{what} {sources}: {why}"))
    }

    fn freshness(&self) -> Freshness {
        let now = Wall::now();
        match &self.state().held {
            Some(held) if held.lasts(now.after(MARGIN)) => {
                Freshness::Fresh(held.credentials.clone())
            }
            Some(held) if held.lasts(now) => Freshness::Due(held.credentials.clone()),
            _ => Freshness::Missing,
        }
    }

    /// The failure of a lookup that ended after `began` or a moment before.
    fn failure_since(&self, began: Tick) -> Option<Fault> {
        let state = self.state();
        let (ended, fault) = state.last.as_ref()?;
        fault.clone().filter(|_| ended.after(PAUSE) > began)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn of(credentials: Credentials) -> Held {
        let wall = |at: SystemTime| {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            Wall(since.as_millis() as u64)
        };
        Held {
            expires: credentials.expiry().map(wall),
            credentials: Some(credentials),
        }
    }

    fn nothing() -> Held {
        Held {
            credentials: None,
            expires: Some(Wall::now().after(MARGIN + UNSIGNED)),
        }
    }

    fn lasts(&self, until: Wall) -> bool {
        self.expires.is_none_or(|expires| expires > until)
    }
}

/// Whether no source has credentials. An instance whose metadata service refuses to tell (403, where it is disabled)
/// has none.
fn are_nowhere(error: &CredentialsError) -> bool {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => true,
        CredentialsError::ProviderError(_) => error
            .source()
            .is_some_and(<dyn Error + 'static>::is::<ImdsError>),
        _ => false,
    }
}

fn late() -> Fault {
    Fault::because(
        FaultKind::BadAnswer,
        "credentials_failed",
        format!(
            "looking up AWS credentials took longer than {} s; `AWS_EC2_METADATA_DISABLED=true` skips the instance's",
            LIMIT.as_secs()
        ),
    )
}

fn stopped() -> Fault {
    Fault::new(FaultKind::Drained, "the gateway is shutting down")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        sync::atomic::{AtomicU64, Ordering::Relaxed},
    };

    use aws_credential_types::provider::{ProvideCredentials, future};

    use super::*;
    use crate::upstream::{endpoint::Endpoint, send::Destination};

    /// Gives credentials that last so many seconds each time it is asked, and fails when there are none left.
    #[derive(Debug)]
    struct Script {
        lasting: Mutex<Vec<u64>>,
        asked: AtomicU64,
    }

    #[derive(Debug, Clone)]
    struct Shared(Arc<Script>);

    impl ProvideCredentials for Shared {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let turn = self.0.asked.fetch_add(1, Relaxed);
            let next = self.0.lasting.lock().unwrap().pop();
            let result = match next {
                None => Err(CredentialsError::provider_error("the source is down")),
                Some(seconds) => {
                    let expires = UNIX_EPOCH
                        + Duration::from_millis(Wall::now().0)
                        + Duration::from_secs(seconds);
                    Ok(Credentials::new(
                        format!("id{turn}"),
                        "canary-secret",
                        Some("canary-token".to_owned()),
                        Some(expires),
                        "script",
                    ))
                }
            };
            future::ProvideCredentials::new(async move {
                tokio::task::yield_now().await;
                result
            })
        }
    }

    fn keeper(lasting: &[u64]) -> (Arc<Keeper>, Arc<Script>) {
        let script = Arc::new(Script {
            lasting: Mutex::new(lasting.iter().rev().copied().collect()),
            asked: AtomicU64::new(0),
        });
        let keeper = Keeper::new(None, &Handle::current());
        let provider = SharedCredentialsProvider::new(Shared(script.clone()));
        keeper.provider.set(provider).unwrap();
        (keeper, script)
    }

    fn place() -> Arc<Place> {
        let endpoint = Endpoint::new("127.0.0.1", 1, None);
        Arc::new(Place {
            destination: Destination::Endpoint(Arc::new(endpoint)),
            authority: "127.0.0.1:1".into(),
            region: "eu-west-1".into(),
            is_aws: true,
        })
    }

    async fn id(keeper: &Arc<Keeper>) -> Result<String, Fault> {
        let credentials = keeper.credentials(&place()).await?.unwrap();
        Ok(credentials.access_key_id().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_are_looked_up_once_for_all_who_wait() {
        let (keeper, script) = keeper(&[3600]);
        let ids = futures_util::future::join_all((0..20).map(|_| id(&keeper))).await;
        assert!(ids.iter().all(|id| id.as_ref().unwrap() == "id0"));
        assert_eq!(id(&keeper).await.unwrap(), "id0");
        assert_eq!(script.asked.load(Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn item_149_they_are_renewed_five_minutes_before_they_expire() {
        let (keeper, _) = keeper(&[200, 3600]);
        assert_eq!(id(&keeper).await.unwrap(), "id0");
        assert_eq!(id(&keeper).await.unwrap(), "id0", "still good");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(id(&keeper).await.unwrap(), "id1", "renewed meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn item_149_the_old_ones_are_kept_until_they_expire_when_renewing_fails() {
        let (keeper, script) = keeper(&[200]);
        for _ in 0..5 {
            assert_eq!(id(&keeper).await.unwrap(), "id0");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(
            script.asked.load(Relaxed),
            2,
            "a source that is down isn't pestered"
        );
        tokio::time::sleep(PAUSE).await;
        assert_eq!(id(&keeper).await.unwrap(), "id0");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(script.asked.load(Relaxed), 3, "but asked again");
        keeper.state().held.as_mut().unwrap().expires = Some(Wall(1));
        tokio::time::sleep(PAUSE).await;
        let fault = id(&keeper).await.unwrap_err();
        assert_eq!(
            (fault.kind.row().status, fault.reason),
            (502, "credentials_expired")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_lookup_answers_all_who_wait_and_says_where_was_looked() {
        let (keeper, script) = keeper(&[]);
        let ids = futures_util::future::join_all((0..20).map(|_| id(&keeper))).await;
        assert_eq!(script.asked.load(Relaxed), 1);
        for id in ids {
            let fault = id.unwrap_err();
            assert_eq!(fault.reason, "credentials_failed");
            assert!(fault.detail.contains("AWS_ACCESS_KEY_ID"), "{fault}");
            assert!(fault.detail.contains("the source is down"), "{fault}");
        }
    }

    /// A metadata service that answers every request with 403, as where it is disabled.
    fn refusing_metadata_service(place: &Place) -> SharedCredentialsProvider {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().take(4).flatten() {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            }
        });
        let region = Region::new(place.region.to_string());
        let config = ProviderConfig::without_region().with_region(Some(region));
        let client = imds::Client::builder().configure(&config).max_attempts(1);
        let client = client.endpoint(address).unwrap().build();
        let provider = imds::credentials::ImdsCredentialsProvider::builder()
            .configure(&config)
            .imds_client(client);
        SharedCredentialsProvider::new(provider.build())
    }

    #[tokio::test]
    async fn where_unsigned_calls_will_do_a_metadata_service_may_refuse_to_tell() {
        let mut place = Arc::into_inner(place()).unwrap();
        for is_aws in [true, false] {
            place.is_aws = is_aws;
            let keeper = Keeper::new(None, &Handle::current());
            let provider = refusing_metadata_service(&place);
            keeper.provider.set(provider).unwrap();
            let found = keeper.look_up(&place).await;
            match found {
                Err(fault) => assert!(is_aws && fault.reason == "credentials_failed", "{fault}"),
                Ok(credentials) => assert!(!is_aws && credentials.is_none()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn item_148_secrets_are_not_in_debug_output() {
        let (keeper, _) = keeper(&[3600]);
        let credentials = keeper.credentials(&place()).await.unwrap();
        let shown = format!("{keeper:?} {credentials:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
