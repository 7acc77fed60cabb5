//! What an engine remembers of single topics from one decision to the next. All of it may be forgotten: after a restart
//! the resources and the brokers' topics alone lead to the same end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::super::board::TopicKey;
use super::super::brokers::Refusal;

/// How long the feed has to show what was done before it is asked for again.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// The pause after a refusal that may pass by itself, and after one for which something has to change; doubled each time.
const NOT_NOW_AGAIN: Duration = Duration::from_secs(2);
const NOT_NOW_AGAIN_MAX: Duration = Duration::from_secs(60);
const NO_AGAIN: Duration = Duration::from_secs(30);
const NO_AGAIN_MAX: Duration = Duration::from_secs(600);
/// What may pass by itself is told of from the second time on.
const NOT_NOW_TOLD_FROM: u32 = 2;

#[derive(Clone, Debug, Default, PartialEq)]
struct Memory {
    made: Option<String>,
    tried: bool,
    gone: bool,
    shown_by: Option<Instant>,
    refused: Option<Refused>,
}

#[derive(Clone, Debug, PartialEq)]
struct Refused {
    generation: Option<i64>,
    words: String,
    tries: u32,
    told: bool,
    again: Instant,
}

/// What is remembered, and when to look at a topic again.
#[derive(Debug, Default)]
pub struct Memories {
    by_key: HashMap<TopicKey, Memory>,
    timers: BinaryHeap<Reverse<(Instant, TopicKey)>>,
}

impl Memories {
    /// The id of the topic that was made, until the status has it.
    pub fn made(&self, key: &TopicKey) -> Option<&str> {
        self.by_key.get(key)?.made.as_deref()
    }

    /// Whether the topic may have been made without an answer.
    pub fn is_tried(&self, key: &TopicKey) -> bool {
        self.by_key.get(key).is_some_and(|memory| memory.tried)
    }

    /// A topic may have been made.
    pub fn tried(&mut self, key: &TopicKey) {
        self.by_key.entry(key.clone()).or_default().tried = true;
    }

    pub fn is_gone(&self, key: &TopicKey) -> bool {
        self.by_key.get(key).is_some_and(|memory| memory.gone)
    }

    /// Why that spec was refused, while it is not time to try again.
    pub fn refused(&self, key: &TopicKey, generation: Option<i64>, now: Instant) -> Option<&str> {
        let refused = self.by_key.get(key)?.refused.as_ref()?;
        let holds = refused.told && refused.generation == generation && now < refused.again;
        holds.then_some(refused.words.as_str())
    }

    /// Whether nothing is to be asked for now: what was asked is not shown yet, or was refused a moment ago.
    pub fn waits(&self, key: &TopicKey, generation: Option<i64>, now: Instant) -> bool {
        let Some(memory) = self.by_key.get(key) else {
            return false;
        };
        let refused = memory.refused.as_ref();
        memory.shown_by.is_some_and(|by| now < by)
            || refused.is_some_and(|r| r.generation == generation && now < r.again)
    }

    /// Something was done, and the feed will show it.
    pub fn done(&mut self, key: &TopicKey, made: Option<String>, now: Instant) {
        let memory = self.by_key.entry(key.clone()).or_default();
        memory.refused = None;
        memory.shown_by = Some(now + SHOWN_WITHIN);
        if made.is_some() {
            memory.made = made;
        }
        self.wake(key, now + SHOWN_WITHIN);
    }

    /// The topic is deleted.
    pub fn deleted(&mut self, key: &TopicKey) {
        let memory = self.by_key.entry(key.clone()).or_default();
        memory.gone = true;
        memory.refused = None;
    }

    /// It was not done.
    pub fn refuse(
        &mut self,
        key: &TopicKey,
        generation: Option<i64>,
        refusal: Refusal,
        now: Instant,
    ) {
        let memory = self.by_key.entry(key.clone()).or_default();
        let before = memory.refused.take();
        let tries = before.filter(|before| before.generation == generation);
        let tries = tries.map_or(0, |before| before.tries) + 1;
        let (words, pause, most, told_from) = match refusal {
            Refusal::No(words) => (words, NO_AGAIN, NO_AGAIN_MAX, 1),
            Refusal::NotNow(words) => (words, NOT_NOW_AGAIN, NOT_NOW_AGAIN_MAX, NOT_NOW_TOLD_FROM),
            Refusal::Exists => (
                "The brokers say that the topic exists, and do not show it yet.".to_owned(),
                NOT_NOW_AGAIN,
                NOT_NOW_AGAIN_MAX,
                NOT_NOW_TOLD_FROM,
            ),
            Refusal::Missing => (
                "The brokers say that there is no such topic, and show it still.".to_owned(),
                NOT_NOW_AGAIN,
                NOT_NOW_AGAIN_MAX,
                NOT_NOW_TOLD_FROM,
            ),
        };
        let again = now + most.min(pause.saturating_mul(1 << (tries - 1).min(16)));
        memory.refused = Some(Refused {
            generation,
            words,
            tries,
            told: tries >= told_from,
            again,
        });
        self.wake(key, again);
    }

    /// The feed has shown something new of the topic.
    pub fn shown(&mut self, key: &TopicKey) {
        if let Some(memory) = self.by_key.get_mut(key) {
            memory.shown_by = None;
        }
    }

    /// The status has the topic that was made.
    pub fn recorded(&mut self, key: &TopicKey, id: &str) {
        if let Some(memory) = self.by_key.get_mut(key) {
            memory.tried = false;
            if memory.made.as_deref() == Some(id) {
                memory.made = None;
            }
            if *memory == Memory::default() {
                self.by_key.remove(key);
            }
        }
    }

    /// The resource is another one now, or is no more.
    pub fn forget(&mut self, key: &TopicKey) {
        self.by_key.remove(key);
    }

    /// What was refused may be tried again at once: the cluster has changed.
    pub fn forgive(&mut self) {
        for memory in self.by_key.values_mut() {
            memory.refused = None;
        }
    }

    /// Has the topic looked at again then.
    pub fn wake(&mut self, key: &TopicKey, at: Instant) {
        self.timers.push(Reverse((at, key.clone())));
    }

    /// When the next one is to be looked at.
    pub fn next(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Those whose time has come.
    pub fn due(&mut self, now: Instant) -> Vec<TopicKey> {
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= now)
            && let Some(Reverse((_, key))) = self.timers.pop()
        {
            due.push(key);
        }
        due
    }
}

/// Topics to be looked at, the first come first, each once.
#[derive(Debug, Default)]
pub struct Dirty {
    order: VecDeque<TopicKey>,
    all: HashSet<TopicKey>,
}

impl Dirty {
    pub fn mark(&mut self, key: &TopicKey) {
        if self.all.insert(key.clone()) {
            self.order.push_back(key.clone());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// At most so many.
    pub fn take(&mut self, most: usize) -> Vec<TopicKey> {
        let taken: Vec<TopicKey> = self.order.drain(..most.min(self.order.len())).collect();
        for key in &taken {
            self.all.remove(key);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TopicKey {
        TopicKey {
            namespace: "ns".into(),
            name: "t".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_for_its_spec_until_it_is_time_to_try_again() {
        let (mut memories, now) = (Memories::default(), Instant::now());
        memories.refuse(&key(), Some(1), Refusal::No("too much".into()), now);
        assert_eq!(memories.refused(&key(), Some(1), now), Some("too much"));
        assert_eq!(
            memories.refused(&key(), Some(2), now),
            None,
            "the spec is another one"
        );
        assert!(!memories.waits(&key(), Some(2), now));
        let later = now + NO_AGAIN;
        assert_eq!(memories.due(later), [key()]);
        assert_eq!(memories.refused(&key(), Some(1), later), None);
        memories.refuse(&key(), Some(1), Refusal::No("too much".into()), later);
        assert!(
            memories.waits(&key(), Some(1), later + NO_AGAIN),
            "the pause has doubled"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_by_itself_is_told_of_from_the_second_time_on() {
        let (mut memories, now) = (Memories::default(), Instant::now());
        memories.refuse(&key(), Some(1), Refusal::NotNow("busy".into()), now);
        assert_eq!(memories.refused(&key(), Some(1), now), None);
        assert!(memories.waits(&key(), Some(1), now));
        let later = now + NOT_NOW_AGAIN;
        memories.refuse(&key(), Some(1), Refusal::NotNow("busy".into()), later);
        assert_eq!(memories.refused(&key(), Some(1), later), Some("busy"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_done_is_waited_for_until_the_feed_shows_it_and_not_for_ever() {
        let (mut memories, now) = (Memories::default(), Instant::now());
        memories.done(&key(), Some("id".into()), now);
        assert!(memories.waits(&key(), None, now));
        assert!(!memories.waits(&key(), None, now + SHOWN_WITHIN));
        memories.shown(&key());
        assert!(!memories.waits(&key(), None, now));
        assert_eq!(memories.made(&key()), Some("id"));
        memories.recorded(&key(), "id");
        assert!(memories.by_key.is_empty());
    }

    #[test]
    fn a_topic_is_looked_at_once_however_often_it_was_marked() {
        let mut dirty = Dirty::default();
        dirty.mark(&key());
        dirty.mark(&key());
        assert_eq!(dirty.take(10), [key()]);
        assert!(dirty.is_empty());
    }
}
