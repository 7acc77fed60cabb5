//! `/v1/brokers/{id}/stop-lease`: may this broker stop?
//!
//! `POST` takes `duration` (such as `10m`), `max_unavailable` and `never_safe` (`block`, `move` or `allow`) in its query, and
//! `hook=true` where the broker stops in any case,
//! and answers `{"granted": ...}`, or `{"refused": ...}` with the status 409. `DELETE` answers whether there was a lease.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use milena_metadata::{LeaseAnswer, NeverSafe};
use serde::{Deserialize, Serialize};

use super::{Failure, Serving, named};
use crate::http::Stage;
use crate::lease::{self, WantedStop};

/// A broker stops, starts and copies what it missed in less, where nothing is wrong.
const DURATION_DEFAULT: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    duration: Option<String>,
    #[serde(default = "one")]
    max_unavailable: u32,
    #[serde(default = "block")]
    never_safe: NeverSafe,
    /// Who asks is what runs before the broker beside it is stopped, whatever the answer in the end.
    #[serde(default)]
    hook: bool,
}

fn one() -> u32 {
    1
}

fn block() -> NeverSafe {
    NeverSafe::Block
}

/// Whether there was a lease to give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// There was one.
    pub released: bool,
}

/// `POST`.
pub(super) async fn ask(
    Shared(stage): Shared<Arc<Stage>>,
    Serving(broker): Serving,
    id: Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<(StatusCode, Json<LeaseAnswer>), Failure> {
    let (id, Query(asked)) = (named(&broker, &id)?, asked?);
    if asked.hook && id == broker.broker_id() {
        *stage.hook_asked.lock() = Some(Instant::now());
    }
    let wanted = WantedStop {
        broker: id,
        duration: duration(asked.duration.as_deref())?,
        max_unavailable: asked.max_unavailable,
        never_safe: asked.never_safe,
    };
    let answer = lease::request(&broker, wanted).await?;
    let status = match &answer {
        LeaseAnswer::Granted(_) => StatusCode::OK,
        LeaseAnswer::Refused(_) => StatusCode::CONFLICT,
    };
    Ok((status, Json(answer)))
}

/// `DELETE`.
pub async fn give_back(
    Serving(broker): Serving,
    id: Path<String>,
) -> Result<Json<GivenBack>, Failure> {
    let id = named(&broker, &id)?;
    let released = lease::release(&broker, id).await?;
    Ok(Json(GivenBack { released }))
}

fn duration(text: Option<&str>) -> Result<Duration, Failure> {
    let Some(text) = text else {
        return Ok(DURATION_DEFAULT);
    };
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    let parsed = parsed.ok().and_then(|parsed| parsed.try_into().ok());
    let positive = parsed.filter(|duration: &Duration| !duration.is_zero());
    positive
        .ok_or_else(|| Failure::bad_request(format!("{text:?} is no duration, such as 90s or 10m")))
}
