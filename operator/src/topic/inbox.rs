//! What an engine has still to hear of: of each thing only the newest, so that it is bounded by what there is and nobody
//! ever waits for an engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::access::NamespaceView;
use super::board::{Declared, TopicKey};
use crate::crd::KafkaCluster;

/// What is new.
#[derive(Debug, Default)]
pub struct News {
    /// The cluster, where it has changed: `Some(None)` where there is none.
    pub cluster: Option<Option<Arc<KafkaCluster>>>,
    pub namespaces: HashMap<String, NamespaceView>,
    /// `None` where a Topic is no more.
    pub topics: HashMap<TopicKey, Option<Declared>>,
}

/// The way to an engine.
#[derive(Debug, Default)]
pub struct Inbox {
    news: Mutex<News>,
    came: Notify,
}

impl Inbox {
    /// Leaves news.
    pub fn tell(&self, put: impl FnOnce(&mut News)) {
        put(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.came.notify_one();
    }

    /// All that is new.
    pub fn take(&self) -> News {
        std::mem::take(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something may be new.
    pub async fn came(&self) {
        self.came.notified().await;
    }
}
