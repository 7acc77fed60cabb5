//! `/v1/brokers/self`: the broker that answers, also before it is part of its cluster.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};

use super::brokers::State;
use crate::http::Stage;

/// The broker that answers. What is not known yet is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownSelf {
    pub id: i32,
    pub state: State,
    /// Whether `/healthz/ready` answers 200.
    pub ready: bool,
    /// What it waits for before that.
    pub awaits: Option<String>,
    pub cluster_id: Option<String>,
    /// The id of the directory of its metadata: another one after its disk was wiped.
    pub directory_id: Option<String>,
    /// The uid of the volume claim that its data directory is bound to.
    pub claim_uid: Option<String>,
    /// This life's own id.
    pub incarnation: Option<String>,
    /// This life's epoch.
    pub epoch: Option<i64>,
    /// The machine it runs on.
    pub node: Option<String>,
    pub rack: Option<String>,
    pub software: String,
    /// `milena cluster lease --self` waits here for the broker's stop.
    #[serde(default)]
    pub waits_to_stop: bool,
}

/// Longer than the hook takes between two questions.
const HOOK_ASKS_WITHIN: Duration = Duration::from_secs(20);

/// `GET /v1/brokers/self`.
pub(super) async fn show(Shared(stage): Shared<Arc<Stage>>) -> Json<ShownSelf> {
    let (known, awaits) = (stage.known.get(), stage.awaits());
    let broker = stage.broker.get();
    let life = broker.and_then(|broker| {
        let life = broker.image().broker(broker.broker_id()).cloned();
        life.filter(|life| life.epoch == broker.broker_epoch())
    });
    let state = match &life {
        _ if stage.stopping.is_cancelled() => State::Stopping,
        Some(life) => State::of(life),
        None => State::Starting,
    };
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    let life = life.as_ref();
    Json(ShownSelf {
        id: known.broker,
        state,
        ready: awaits.is_none(),
        awaits,
        cluster_id: known.cluster_id,
        directory_id: known.directory_id,
        claim_uid: known.claim_uid,
        incarnation: life.map(|life| life.incarnation.to_string()),
        epoch: broker.map(|broker| broker.broker_epoch()),
        node: life.and_then(|life| text(&life.node)),
        rack: life.and_then(|life| text(&life.rack)),
        software: crate::software(),
        waits_to_stop: (*stage.hook_asked.lock())
            .is_some_and(|asked| asked.elapsed() < HOOK_ASKS_WITHIN),
    })
}
