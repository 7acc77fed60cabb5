//! What a turn of an engine does: writes to the API server and requests to the brokers, each bounded, together.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::iter;

use super::super::board::{Declared, TopicKey};
use super::super::brokers::{Brokers, ConfigChanges, Each, NewTopic, Refusal, Trouble};
use super::super::metrics::Metrics;
use super::super::registry::{Registry, WriteError};
use crate::cluster::throttle::Copies;
use crate::crd::Topic;
use crate::crd::topic::TopicStatus;

/// Writes to the API server at a time: its own fairness rules allow more, and leave room for others so.
const WRITERS: usize = 16;

/// A Topic that something is done for, as it was when that was decided.
#[derive(Clone, Debug)]
pub struct Subject {
    pub key: TopicKey,
    pub topic: Arc<Topic>,
}

/// What is to be written.
#[derive(Clone, Debug)]
pub enum Write {
    Status {
        status: Box<TopicStatus>,
        /// The topic was there before the resource.
        adopts: bool,
    },
    /// The finalizers, and why the topic stays, where it might have been deleted.
    Finalizers {
        all: Vec<String>,
        kept: Option<String>,
    },
}

/// What is to be asked of the brokers.
#[derive(Clone, Debug, Default)]
pub struct Asks {
    pub creates: Vec<(Subject, NewTopic)>,
    pub alters: Vec<(Subject, (String, ConfigChanges))>,
    pub grows: Vec<(Subject, (String, i32))>,
    pub deletes: Vec<(Subject, String)>,
    pub replicates: Vec<(Subject, (String, i32))>,
    /// How fast replicas move, in bytes a second of each broker; none is no bound.
    pub bytes_per_second_max: Option<u64>,
    /// Partitions of the topics to be made or to grow.
    pub partitions: usize,
}

/// What the brokers did for a topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    Created(String),
    Altered(ConfigChanges),
    Grown(i32),
    Deleted,
    Replicates(i32),
}

/// Why they did not.
#[derive(Clone, Debug, PartialEq)]
pub enum Failed {
    Refused(Refusal),
    Trouble(String),
}

/// One topic's result.
pub struct Answer {
    pub subject: Subject,
    pub action: &'static str,
    pub result: Result<Done, Failed>,
}

/// One write's result.
pub struct Written {
    pub subject: Subject,
    pub write: Write,
    pub result: Result<Declared, WriteError>,
}

impl Asks {
    pub fn is_empty(&self) -> bool {
        self.creates.is_empty()
            && self.alters.is_empty()
            && self.grows.is_empty()
            && self.deletes.is_empty()
            && self.replicates.is_empty()
    }
}

/// Writes all of it.
pub async fn write<R: Registry>(registry: &R, writes: Vec<(Subject, Write)>) -> Vec<Written> {
    let write = |(subject, write): (Subject, Write)| async move {
        let topic = &*subject.topic;
        let result = match &write {
            Write::Status { status, .. } => registry.write_status(topic, status).await,
            Write::Finalizers { all, .. } => registry.write_finalizers(topic, all).await,
        };
        Written {
            subject,
            write,
            result,
        }
    };
    iter(writes)
        .map(write)
        .buffer_unordered(WRITERS)
        .collect()
        .await
}

/// Asks for all of it: each kind in one request.
pub async fn ask<B: Brokers>(brokers: &B, metrics: &Metrics, asks: Asks) -> Vec<Answer> {
    let (makers, news): (Vec<_>, Vec<_>) = asks.creates.into_iter().unzip();
    let (changers, changes): (Vec<_>, Vec<_>) = asks.alters.into_iter().unzip();
    let (growers, counts): (Vec<_>, Vec<_>) = asks.grows.into_iter().unzip();
    let (enders, ids): (Vec<_>, Vec<_>) = asks.deletes.into_iter().unzip();
    let (made, changed, grown, deleted, replicated) = tokio::join!(
        each(metrics, "create", news.len(), brokers.create(&news)),
        each(metrics, "alter", changes.len(), brokers.alter(&changes)),
        each(metrics, "grow", counts.len(), brokers.grow(&counts)),
        each(metrics, "delete", ids.len(), brokers.delete(&ids)),
        replicate(brokers, metrics, asks.replicates, asks.bytes_per_second_max),
    );
    let mut answers = replicated;
    for (subject, result) in makers.into_iter().zip(made) {
        answers.push(answer(subject, "create", result.map(Done::Created)));
    }
    for ((subject, (_, changes)), result) in changers.into_iter().zip(changes).zip(changed) {
        let result = result.map(|()| Done::Altered(changes));
        answers.push(answer(subject, "alter", result));
    }
    for ((subject, (_, count)), result) in growers.into_iter().zip(counts).zip(grown) {
        answers.push(answer(subject, "grow", result.map(|()| Done::Grown(count))));
    }
    for (subject, result) in enders.into_iter().zip(deleted) {
        answers.push(answer(subject, "delete", result.map(|()| Done::Deleted)));
    }
    answers
}

fn answer(subject: Subject, action: &'static str, result: Result<Done, Failed>) -> Answer {
    Answer {
        subject,
        action,
        result,
    }
}

/// One request for all, where there are any.
async fn each<D>(
    metrics: &Metrics,
    call: &str,
    count: usize,
    asked: impl Future<Output = Each<D>>,
) -> Vec<Result<D, Failed>> {
    if count == 0 {
        return Vec::new();
    }
    metrics.call(call);
    let trouble = match asked.await {
        Ok(results) if results.len() == count => {
            let results = results.into_iter();
            return results
                .map(|result| result.map_err(Failed::Refused))
                .collect();
        }
        Ok(_) => "the answer is not of the length of the question".to_owned(),
        Err(Trouble(words)) => words,
    };
    let each = || Err(Failed::Trouble(trouble.clone()));
    (0..count).map(|_| each()).collect()
}

/// One after the other: a plan looks at all partitions of the cluster. What they copy is bounded before any of it
/// begins, of all in one request.
async fn replicate<B: Brokers>(
    brokers: &B,
    metrics: &Metrics,
    items: Vec<(Subject, (String, i32))>,
    bytes_per_second_max: Option<u64>,
) -> Vec<Answer> {
    let ready = match bytes_per_second_max {
        Some(rate) => bound(brokers, metrics, &items, rate).await,
        None => Ok(()),
    };
    let mut answers = Vec::new();
    for (subject, (name, factor)) in items {
        let result = match &ready {
            Ok(()) => begin(brokers, metrics, &name, factor).await,
            Err(failed) => Err(failed.clone()),
        };
        answers.push(answer(subject, "replicate", result));
    }
    answers
}

/// What is refused copies nothing, and leaves no bound. The cluster's controller takes it off the others once nothing
/// moves any more.
async fn bound<B: Brokers>(
    brokers: &B,
    metrics: &Metrics,
    items: &[(Subject, (String, i32))],
    rate: u64,
) -> Result<(), Failed> {
    let mut copies = Copies::default();
    for (_, (name, factor)) in items {
        metrics.call("plan");
        match brokers.copies(name, *factor).await {
            Ok(some) => copies.extend(some),
            Err(Trouble(words)) => return Err(Failed::Trouble(words)),
        }
    }
    if copies.is_empty() {
        return Ok(());
    }
    metrics.call("bound");
    let bounded = brokers.bound(&copies, rate).await;
    bounded.map_err(|Trouble(words)| Failed::Trouble(words))
}

async fn begin<B: Brokers>(
    brokers: &B,
    metrics: &Metrics,
    name: &str,
    factor: i32,
) -> Result<Done, Failed> {
    metrics.call("replicate");
    match brokers.replicate(name, factor).await {
        Ok(Ok(())) => Ok(Done::Replicates(factor)),
        Ok(Err(refusal)) => Err(Failed::Refused(refusal)),
        Err(Trouble(words)) => Err(Failed::Trouble(words)),
    }
}
