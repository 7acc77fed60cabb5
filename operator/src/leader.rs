//! One of several operators leads, by a Lease; only it writes.
//!
//! | time | what |
//! | --- | --- |
//! | 2 s | the leader renews, the others look |
//! | 10 s after a renewal was *sent* | the leader may not write any more, and ends |
//! | 15 s after a renewal was *seen* | another may take over |
//!
//! A process that was stopped and is continued finds its time over before its next write: [`Leadership::check`] asks the
//! kernel's clocks right before each one, in the client itself. The boot-time clock also counts while a machine sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::{Method, Request};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::client::Body;
use kube::{Api, Client, Error};
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error as ThisError;
use tokio::time::{Instant, sleep, timeout};

/// How often the leader renews and the others look.
const EVERY: Duration = Duration::from_secs(2);
/// How long one call to the API server may take, so that a renewal can be tried again in time.
const CALL_MAX: Duration = Duration::from_secs(3);
/// How long the leader may write after it sent a renewal that was accepted.
const WRITES_FOR: Duration = Duration::from_secs(10);
/// How long the others wait after a renewal that they saw. Longer than [`WRITES_FOR`], by more than a call takes.
const EXPIRES_AFTER: Duration = Duration::from_secs(15);

/// Another operator may lead by now: nothing may be written any more.
#[derive(Debug, Clone, Copy, ThisError)]
#[error("this operator does not lead any more, and writes nothing")]
pub struct NotLeading;

/// Whether this process leads. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Leadership {
    until: Arc<Until>,
}

/// Until when, in nanoseconds of the kernel's two clocks; 0 is never.
#[derive(Debug, Default)]
struct Until {
    monotonic: AtomicU64,
    boot: AtomicU64,
    ended: AtomicBool,
}

fn nanos(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A moment by both clocks.
#[derive(Clone, Copy)]
struct Moment {
    monotonic: u64,
    boot: u64,
}

impl Moment {
    fn now() -> Self {
        Self {
            monotonic: nanos(ClockId::Monotonic),
            boot: nanos(ClockId::Boottime),
        }
    }
}

impl Leadership {
    /// Refuses where the time is over. To be asked right before each write.
    pub fn check(&self) -> Result<(), NotLeading> {
        let (now, until) = (Moment::now(), &self.until);
        let leads = !until.ended.load(Ordering::Acquire)
            && now.monotonic < until.monotonic.load(Ordering::Acquire)
            && now.boot < until.boot.load(Ordering::Acquire);
        if leads { Ok(()) } else { Err(NotLeading) }
    }

    /// Leads for [`WRITES_FOR`] from `sent` on.
    fn extend(&self, sent: Moment) {
        let more = WRITES_FOR.as_nanos() as u64;
        self.until.boot.store(sent.boot + more, Ordering::Release);
        let monotonic = sent.monotonic + more;
        self.until.monotonic.store(monotonic, Ordering::Release);
    }

    /// Never leads again.
    fn end(&self) {
        self.until.ended.store(true, Ordering::Release);
    }

    /// Leads for ever: for tests and commands that no other operator competes with.
    pub fn alone() -> Self {
        let alone = Self::default();
        alone.until.boot.store(u64::MAX, Ordering::Release);
        alone.until.monotonic.store(u64::MAX, Ordering::Release);
        alone
    }

    /// A client whose writes are refused once the leadership is over.
    pub fn guard(&self, client: &Client) -> Client {
        let (inner, leadership) = (client.clone(), self.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (inner, leadership) = (inner.clone(), leadership.clone());
            async move {
                if *request.method() != Method::GET {
                    leadership.check()?;
                }
                let answered = inner.send(request).await;
                answered.map_err(tower::BoxError::from)
            }
        });
        Client::new(service, client.default_namespace())
    }
}

/// The Lease, and who competes for it.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
    leadership: Leadership,
    contact: Arc<AtomicBool>,
}

/// A renewal as somebody else sees it: who, and which version of the object.
#[derive(PartialEq)]
struct Seen {
    holder: String,
    version: Option<String>,
}

impl Election {
    /// `identity` must be this process's alone.
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            leadership: Leadership::default(),
            contact: Arc::default(),
        }
    }

    /// Becomes true once the Lease could be read: this process can lead, or take over.
    pub fn contact(&self) -> Arc<AtomicBool> {
        self.contact.clone()
    }

    /// What tells whether this process leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Waits until this process leads. The Lease as it then is goes to [`Election::keep`].
    pub async fn win(&self) -> Lease {
        let mut seen: Option<(Seen, Instant)> = None;
        loop {
            let asked = timeout(CALL_MAX, self.leases.get_opt(&self.name)).await;
            match asked {
                Ok(Ok(found)) => {
                    self.contact.store(true, Ordering::Release);
                    if self.is_free(found.as_ref(), &mut seen)
                        && let Some(won) = self.take(found).await
                    {
                        tracing::info!(identity = self.identity, "leads");
                        return won;
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "the Lease can't be read"),
                Err(_) => tracing::warn!("the API server does not answer"),
            }
            sleep(EVERY).await;
        }
    }

    /// Takes the Lease from whoever has it.
    pub async fn seize(&self) -> Result<Lease, Error> {
        loop {
            let found = self.leases.get_opt(&self.name).await?;
            if let Some(taken) = self.take(found).await {
                return Ok(taken);
            }
            sleep(EVERY).await;
        }
    }

    /// Waits until one who led before may not write any more, wherever it hangs.
    pub async fn until_alone(&self) {
        sleep(WRITES_FOR).await;
    }

    /// Free is what nobody holds, what this process holds, and what was not renewed for long by our own clock: the
    /// others' clocks are not trusted.
    fn is_free(&self, found: Option<&Lease>, seen: &mut Option<(Seen, Instant)>) -> bool {
        let holder = found
            .and_then(|lease| lease.spec.as_ref())
            .and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        let version = found.and_then(|lease| lease.metadata.resource_version.clone());
        let now = Seen { holder, version };
        match seen {
            Some((last, at)) if *last == now => at.elapsed() > EXPIRES_AFTER,
            _ => {
                if seen.is_none() {
                    tracing::info!(holder = now.holder, "another operator leads");
                }
                *seen = Some((now, Instant::now()));
                false
            }
        }
    }

    async fn take(&self, found: Option<Lease>) -> Option<Lease> {
        let sent = Moment::now();
        let time = MicroTime(Timestamp::now());
        let spec = found.as_ref().and_then(|lease| lease.spec.clone());
        let spec = spec.unwrap_or_default();
        let lease = Lease {
            metadata: found.map_or_else(
                || ObjectMeta {
                    name: Some(self.name.clone()),
                    ..Default::default()
                },
                |lease| lease.metadata,
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(EXPIRES_AFTER.as_secs() as i32),
                acquire_time: Some(time.clone()),
                renew_time: Some(time),
                lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + 1),
                ..spec
            }),
        };
        let params = PostParams::default();
        let taken = match lease.metadata.resource_version {
            None => timeout(CALL_MAX, self.leases.create(&params, &lease)).await,
            Some(_) => timeout(CALL_MAX, self.leases.replace(&self.name, &params, &lease)).await,
        };
        match taken {
            Ok(Ok(lease)) => {
                self.leadership.extend(sent);
                Some(lease)
            }
            Ok(Err(Error::Api(status))) if status.is_conflict() => None,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Lease can't be taken");
                None
            }
            Err(_) => None,
        }
    }

    /// Renews until the leadership is lost; the process has to end then.
    pub async fn keep(&self, mut lease: Lease) -> NotLeading {
        loop {
            sleep(EVERY).await;
            if self.leadership.check().is_err() {
                return NotLeading;
            }
            let sent = Moment::now();
            if let Some(spec) = &mut lease.spec {
                spec.renew_time = Some(MicroTime(Timestamp::now()));
            }
            let params = PostParams::default();
            let renewed = self.leases.replace(&self.name, &params, &lease);
            match timeout(CALL_MAX, renewed).await {
                Ok(Ok(renewed)) => {
                    self.leadership.extend(sent);
                    lease = renewed;
                }
                Ok(Err(Error::Api(status))) if status.is_conflict() => {
                    // Ours, where the answer to an earlier renewal was lost; else somebody took it.
                    match timeout(CALL_MAX, self.leases.get(&self.name)).await {
                        Ok(Ok(found)) if self.is_ours(&found) => lease = found,
                        Ok(Ok(_)) => {
                            self.leadership.end();
                            return NotLeading;
                        }
                        _ => {}
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "the Lease is not renewed"),
                Err(_) => tracing::warn!("the Lease is not renewed: no answer"),
            }
        }
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        let spec = lease.spec.as_ref();
        spec.and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity)
    }

    /// Lets another take over at once. Nothing may be written before or after.
    pub async fn release(&self) {
        if self.leadership.check().is_err() {
            return;
        }
        self.leadership.end();
        let Ok(Ok(mut lease)) = timeout(CALL_MAX, self.leases.get(&self.name)).await else {
            return;
        };
        if !self.is_ours(&lease) {
            return;
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        let params = PostParams::default();
        let released = self.leases.replace(&self.name, &params, &lease);
        if let Ok(Err(error)) = timeout(CALL_MAX, released).await {
            tracing::debug!(%error, "the Lease is not released");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_leads_before_a_renewal_after_its_time_or_after_the_end() {
        let leadership = Leadership::default();
        assert!(leadership.check().is_err());
        leadership.extend(Moment::now());
        assert!(leadership.check().is_ok());
        let long_ago = Moment {
            monotonic: 1,
            boot: 1,
        };
        leadership.extend(long_ago);
        assert!(leadership.check().is_err());
        leadership.extend(Moment::now());
        leadership.end();
        assert!(leadership.check().is_err());
    }

    #[test]
    fn one_clock_alone_ends_the_leadership() {
        let leadership = Leadership::default();
        let now = Moment::now();
        leadership.extend(Moment { boot: 1, ..now });
        assert!(leadership.check().is_err());
        leadership.extend(Moment {
            monotonic: 1,
            ..now
        });
        assert!(leadership.check().is_err());
    }

    #[tokio::test]
    async fn a_write_after_the_time_does_not_leave_the_process() {
        let reached = Arc::new(AtomicBool::new(false));
        let witness = reached.clone();
        let service = tower::service_fn(move |_: Request<Body>| {
            witness.store(true, Ordering::Release);
            async { Ok::<_, tower::BoxError>(hyper::Response::new(Body::empty())) }
        });
        let leadership = Leadership::default();
        let client = leadership.guard(&Client::new(service, "here"));
        let leases: Api<Lease> = Api::namespaced(client, "here");
        let (params, lease) = (PostParams::default(), Lease::default());
        let refused = leases.create(&params, &lease).await.unwrap_err();
        assert!(!reached.load(Ordering::Acquire));
        assert!(format!("{refused:?}").contains("NotLeading"), "{refused:?}");
        // What only reads goes through.
        assert!(leases.get("x").await.is_err());
        assert!(reached.load(Ordering::Acquire));
    }
}
