//! Follows a cluster's feed of changes: one request at a time, which the broker holds until there is something.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::brokers::Brokers;
use super::known::{Changes, Cursor, Judgement};
use super::metrics::Metrics;

/// The pause after a failure, doubled each time up to the bound.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Between answers: a cluster whose topics change all the time is asked a few times a second.
const PAUSE_BETWEEN: Duration = Duration::from_millis(50);

/// What comes of a request.
#[derive(Debug)]
pub enum Heard {
    /// What changed, which may be nothing.
    Changes(Changes),
    /// No answer, and why.
    Nothing(String),
}

/// A feed that is followed; it ends with this.
#[derive(Debug)]
pub struct Feed {
    heard: mpsc::Receiver<Heard>,
    task: JoinHandle<()>,
}

impl Feed {
    /// Begins with all topics.
    pub fn follow<B: Brokers>(brokers: Arc<B>, metrics: Arc<Metrics>) -> Self {
        let (tell, heard) = mpsc::channel(1);
        let task = tokio::spawn(follow(brokers, metrics, tell));
        Self { heard, task }
    }

    /// What comes next. Never, where the feed has ended.
    pub async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }

    /// What has come already.
    pub fn try_next(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow<B: Brokers>(brokers: Arc<B>, metrics: Arc<Metrics>, tell: mpsc::Sender<Heard>) {
    let mut cursor = Cursor::default();
    let mut pause = PAUSE_MIN;
    loop {
        metrics.call("changes");
        let heard = match brokers.changes(cursor.since()).await {
            Ok(changes) => match cursor.judge(&changes, Instant::now()) {
                Judgement::Take => Some(Heard::Changes(changes)),
                Judgement::PassOver => {
                    debug!(
                        offset = changes.offset,
                        "an older view of the metadata is passed over"
                    );
                    None
                }
            },
            Err(trouble) => Some(Heard::Nothing(trouble.to_string())),
        };
        let failed = !matches!(heard, Some(Heard::Changes(_)));
        if let Some(heard) = heard
            && tell.send(heard).await.is_err()
        {
            return;
        }
        if failed {
            sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        } else {
            pause = PAUSE_MIN;
            sleep(PAUSE_BETWEEN).await;
        }
    }
}
