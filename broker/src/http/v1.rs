//! The cluster by HTTP, version 1: what the command line and an operator ask of any broker. All of it is JSON; a
//! failure is `{"error": "..."}`.
//!
//! | method and path | does | file |
//! | --- | --- | --- |
//! | `GET /v1/cluster` | the quorum and the partitions' health | `v1/cluster.rs` |
//! | `POST /v1/cluster/stopping` | `{"stopping": true}` marks the cluster as being stopped as a whole | `v1/cluster.rs` |
//! | `GET /v1/metadata/changes` | topics, or what has changed in them; waits for news | `v1/changes.rs` |
//! | `POST /v1/quorum/voters` | `{"add": ID}` or `{"remove": ID}`: who votes | `v1/voters.rs` |
//! | `GET /v1/brokers` | all brokers, their state and what they carry | `v1/brokers.rs` |
//! | `GET /v1/brokers/self` | the one that answers, also while it starts | `v1/answering.rs` |
//! | `POST /v1/brokers/{id}/drain` | `{"draining": true}` has a broker take no replicas | `v1/brokers.rs` |
//! | `POST /v1/brokers/{id}/stop-lease` | asks whether it may stop; 409 where it may not | `v1/stop_lease.rs` |
//! | `DELETE /v1/brokers/{id}/stop-lease` | gives the lease back | `v1/stop_lease.rs` |
//! | `POST /v1/brokers/{id}/unregister` | forgets a broker that is gone for good; 409 while it is not | `v1/unregister.rs` |
//! | `GET /v1/reassignments` | what is on its way, with the bytes that are left | `v1/reassignments.rs` |
//! | `GET /v1/misplaced` | partitions that break a rule of their placement | `v1/misplaced.rs` |
//! | `GET /v1/unhealthy` | partitions that are offline, lack replicas in sync, or may lack records | `v1/unhealthy.rs` |
//! | `POST /v1/plans/{kind}` | what to move, and with `?apply=true` moves it | `v1/plans.rs` |
//!
//! `{id}` is a broker's number, or `self` for the one that answers. What changes something needs the token of
//! `http.admin.token.file`, where that is set: `v1/admin_token.rs`. `docs/http.md` describes all of it for users.

pub mod admin_token;
pub mod answering;
pub mod brokers;
pub mod changes;
pub mod cluster;
pub mod misplaced;
pub mod plans;
pub mod reassignments;
pub mod stop_lease;
pub mod unhealthy;
pub mod unregister;
mod voters;

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use milena_metadata::{BrokerId, Refusal};
use milena_protocol::ErrorCode;

use super::{Stage, in_words};
use crate::broker::Broker;

pub(super) fn router(stage: &Arc<Stage>) -> Router<Arc<Stage>> {
    Router::new()
        .route("/cluster", get(cluster::show))
        .route("/cluster/stopping", post(cluster::set_stopping))
        .route("/metadata/changes", get(changes::follow))
        .route("/quorum/voters", post(voters::change))
        .route("/brokers", get(brokers::list))
        .route("/brokers/self", get(answering::show))
        .route("/brokers/{id}/drain", post(brokers::drain))
        .route(
            "/brokers/{id}/stop-lease",
            post(stop_lease::ask).delete(stop_lease::give_back),
        )
        .route("/brokers/{id}/unregister", post(unregister::forget))
        .route("/reassignments", get(reassignments::list))
        .route("/misplaced", get(misplaced::list))
        .route("/unhealthy", get(unhealthy::list))
        .route("/plans/{kind}", post(plans::make))
        .layer(from_fn_with_state(stage.clone(), admin_token::guard))
        // Behind the guard: what changes nothing needs no token.
        .fallback(async |uri: Uri| Failure::unknown_path(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Failure::unknown_method(&method, uri.path())
        })
}

/// The broker behind the door; a request that comes before it is there is answered 503.
pub struct Serving(Arc<Broker>);

impl FromRequestParts<Arc<Stage>> for Serving {
    type Rejection = Failure;

    async fn from_request_parts(_: &mut Parts, stage: &Arc<Stage>) -> Result<Self, Failure> {
        let broker = stage.broker.get().cloned();
        broker.map(Self).ok_or_else(|| Failure {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: in_words(stage.awaits()),
        })
    }
}

/// Why a request was not done.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    error: String,
}

impl Failure {
    fn bad_request(error: impl ToString) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error: error.to_string(),
        }
    }

    fn conflict(error: impl ToString) -> Self {
        Self {
            status: StatusCode::CONFLICT,
            error: error.to_string(),
        }
    }

    /// What is refused for how things are, which may change.
    fn not_now(refusal: Refusal) -> Self {
        match refusal.code {
            ErrorCode::InvalidRequest => Self::conflict(refusal.message),
            _ => refusal.into(),
        }
    }

    fn internal(error: &dyn std::error::Error) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: error.to_string(),
        }
    }

    /// Nobody says that it leads the metadata quorum.
    fn no_leader(why: impl std::fmt::Display) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: format!("the metadata quorum does not answer: {why}"),
        }
    }

    /// `path` is the part below `/v1`.
    fn unknown_path(path: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            error: format!("/v1{path} is not served here: docs/http.md lists the paths below /v1."),
        }
    }

    fn unknown_method(method: &Method, path: &str) -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            error: format!("/v1{path} takes no {method}."),
        }
    }

    fn unknown_broker(id: BrokerId) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            error: format!("Broker {id} is not registered."),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            ErrorCode::BrokerIdNotRegistered | ErrorCode::VoterNotFound => StatusCode::NOT_FOUND,
            ErrorCode::DuplicateVoter => StatusCode::CONFLICT,
            ErrorCode::RequestTimedOut | ErrorCode::BrokerNotAvailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorCode::KafkaStorageError | ErrorCode::UnknownServerError => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            _ => StatusCode::BAD_REQUEST,
        };
        Self {
            status,
            error: refusal.message,
        }
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.error });
        (self.status, Json(body)).into_response()
    }
}

/// The broker that a path names.
fn named(broker: &Broker, Path(id): &Path<String>) -> Result<BrokerId, Failure> {
    if id == "self" {
        return Ok(broker.broker_id());
    }
    let number = id.parse().ok().and_then(|id| BrokerId::new(id).ok());
    number.ok_or_else(|| {
        Failure::bad_request(format!("{id:?} is no broker's number, and not `self`"))
    })
}

/// Looks at all partitions, on a thread that may take its time: the runtime has timers to keep.
async fn look<T: Send + 'static>(
    broker: &Arc<Broker>,
    read: impl FnOnce(&Broker) -> T + Send + 'static,
) -> Result<T, Failure> {
    let broker = broker.clone();
    let looked = crate::blocking::spawn(move || read(&broker)).await;
    looked.map_err(|error| Failure::internal(&error))
}

#[cfg(test)]
mod tests;
