//! What follows from writes and answers: what is known now, what is remembered, and which events are told.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::super::board::TopicKey;
use super::super::brokers::{ConfigChanges, Open, Refusal};
use super::super::decide::FINALIZER;
use super::super::registry::{Note, Registry, WriteError};
use super::super::status::{self, Kind, applied_generation};
use super::super::wanted;
use super::work::{Answer, Done, Failed, Subject, Write, Written};
use super::{Engine, TROUBLE_PAUSE};
use crate::crd::topic::TopicStatus;

/// A write that met a newer resource is decided anew when that has come, or else after this.
const CHANGED_AGAIN: Duration = Duration::from_secs(1);
/// A write that failed.
const FAILED_AGAIN: Duration = Duration::from_secs(5);
/// Settings named in an event.
const SETTINGS_TOLD_MAX: usize = 10;

impl<R: Registry, O: Open> Engine<R, O> {
    pub(super) fn settle_writes(&mut self, written: Vec<Written>) {
        let now = Instant::now();
        for Written {
            subject,
            write,
            result,
        } in written
        {
            let key = &subject.key;
            match result {
                Ok(declared) => {
                    self.tell_of_write(&subject, &write);
                    self.take_topic(key, Some(declared));
                }
                Err(WriteError::Gone) => {}
                Err(WriteError::Changed) => self.memories.wake(key, now + CHANGED_AGAIN),
                Err(WriteError::Failed(why)) => {
                    warn!(topic = %key, why, "the resource could not be written; it is tried again");
                    self.memories.wake(key, now + FAILED_AGAIN);
                }
            }
        }
    }

    fn tell_of_write(&mut self, subject: &Subject, write: &Write) {
        match write {
            Write::Status { status, adopts } => {
                if let Some(id) = &status.topic_id {
                    self.memories.recorded(&subject.key, id);
                }
                let old = subject.topic.status.as_ref();
                for note in transitions(old, status, *adopts) {
                    self.registry.tell(&subject.topic, note);
                }
            }
            Write::Finalizers { all, kept } => {
                if let Some(why) = kept {
                    self.registry
                        .tell(&subject.topic, Note::warning("TopicKept", why));
                }
                let held = all.iter().any(|one| one == FINALIZER);
                debug!(topic = %subject.key, held, "the finalizers are written");
            }
        }
    }

    pub(super) fn settle_answers(&mut self, answers: Vec<Answer>) {
        let now = Instant::now();
        let mut troubled = None;
        for Answer {
            subject,
            action,
            result,
        } in answers
        {
            let outcome = match &result {
                Ok(_) => "done",
                Err(Failed::Refused(_)) => "refused",
                Err(Failed::Trouble(_)) => "trouble",
            };
            self.metrics.action(action, outcome);
            let open = matches!(
                result,
                Err(Failed::Trouble(_) | Failed::Refused(Refusal::NotNow(_)))
            );
            if open && action == "create" {
                self.memories.tried(&subject.key);
            }
            match result {
                Ok(done) => self.settle_done(&subject, done, now),
                Err(Failed::Refused(Refusal::Missing)) if action == "delete" => {
                    self.settle_gone(&subject.key);
                }
                Err(Failed::Refused(refusal)) => self.settle_refused(&subject, refusal, now),
                Err(Failed::Trouble(words)) => {
                    self.settle_refused(&subject, Refusal::NotNow(words.clone()), now);
                    troubled.get_or_insert(words);
                }
            }
        }
        if let Some(why) = troubled {
            warn!(
                cluster = self.name,
                why, "the brokers could not be asked; it is tried again"
            );
            self.asks_from = now + TROUBLE_PAUSE;
        }
    }

    fn settle_refused(&mut self, subject: &Subject, refusal: Refusal, now: Instant) {
        let generation = subject.topic.metadata.generation;
        self.memories.refuse(&subject.key, generation, refusal, now);
        // The status tells of it.
        self.dirty.mark(&subject.key);
    }

    fn settle_gone(&mut self, key: &TopicKey) {
        self.memories.deleted(key);
        self.dirty.mark(key);
    }

    fn settle_done(&mut self, subject: &Subject, done: Done, now: Instant) {
        let key = &subject.key;
        let name = wanted::name(&subject.topic);
        let note = match done {
            Done::Created(id) => {
                let words = format!("Topic {name:?} is created with id {id}.");
                self.memories.done(key, Some(id), now);
                Note::normal("Created", words)
            }
            Done::Altered(changes) => {
                self.memories.done(key, None, now);
                let words = in_words(&changes);
                let metadata = &subject.topic.metadata;
                let applied = applied_generation(subject.topic.status.as_ref());
                match applied.is_some() && applied == metadata.generation {
                    true => Note::warning(
                        "DriftCorrected",
                        format!("Settings that somebody else had changed are set back: {words}."),
                    ),
                    false => Note::normal("Altered", format!("Settings are changed: {words}.")),
                }
            }
            Done::Grown(count) => {
                self.memories.done(key, None, now);
                Note::normal("Grown", format!("Topic {name:?} has {count} partitions."))
            }
            Done::Replicates(factor) => {
                self.memories.done(key, None, now);
                self.looks.begun(key, now);
                let words = format!("Topic {name:?} is being given {factor} replicas.");
                Note::normal("Reassigning", words)
            }
            Done::Deleted => {
                self.settle_gone(key);
                Note::normal("Deleted", format!("Topic {name:?} is deleted."))
            }
        };
        self.registry.tell(&subject.topic, note);
    }
}

fn in_words(changes: &ConfigChanges) -> String {
    let told = changes.iter().take(SETTINGS_TOLD_MAX);
    let told: Vec<String> = told
        .map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => format!("{name} to its default"),
        })
        .collect();
    let told = told.join(", ");
    match changes.len().saturating_sub(SETTINGS_TOLD_MAX) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

/// Events for what a status says for the first time.
fn transitions(old: Option<&TopicStatus>, new: &TopicStatus, adopts: bool) -> Vec<Note> {
    let mut notes = Vec::new();
    let gained = old.and_then(|old| old.topic_id.as_ref()) != new.topic_id.as_ref();
    if adopts && gained {
        let name = new.topic_name.as_deref().unwrap_or_default();
        let words = format!("Topic {name:?} was there already and belongs to this resource now.");
        notes.push(Note::normal("Adopted", words));
    }
    for kind in [Kind::Conflict, Kind::NotPermitted] {
        if status::holds(Some(new), kind)
            && !status::holds(old, kind)
            && let Some(condition) = status::condition(Some(new), kind)
        {
            notes.push(Note::warning(kind.name(), condition.message.clone()));
        }
    }
    let reason = |status: Option<&TopicStatus>| {
        let synced = status::condition(status, Kind::Synced);
        let wrong = synced.filter(|synced| synced.status == "False");
        wrong.map(|synced| synced.reason.clone())
    };
    let told = ["Drift", "Refused", "InvalidSpec", "PartitionsCannotShrink"];
    let now = reason(Some(new));
    if let Some(told) = told.into_iter().find(|told| now.as_deref() == Some(*told))
        && reason(old) != now
        && let Some(condition) = status::condition(Some(new), Kind::Synced)
    {
        notes.push(Note::warning(told, condition.message.clone()));
    }
    notes
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::super::super::status::{Holds, Verdict};
    use super::*;

    fn status(old: Option<&TopicStatus>, verdict: &Verdict) -> TopicStatus {
        status::next(old, verdict, "t", Some(1), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_conflict_is_told_once() {
        let conflict =
            Verdict::not_ready("Conflict", "x").say(Kind::Conflict, Holds::True, "Exists", "x");
        let first = status(None, &conflict);
        assert_eq!(
            transitions(None, &first, false),
            [Note::warning("Conflict", "x")]
        );
        let again = status(Some(&first), &conflict);
        assert_eq!(transitions(Some(&first), &again, false), []);
    }

    #[test]
    fn a_refusal_is_told_when_it_begins() {
        let refused = |words| Verdict::default().say(Kind::Synced, Holds::False, "Refused", words);
        let first = status(None, &refused("a"));
        assert_eq!(
            transitions(None, &first, false),
            [Note::warning("Refused", "a")]
        );
        let other = status(Some(&first), &refused("b"));
        assert_eq!(transitions(Some(&first), &other, false), []);
    }
}
