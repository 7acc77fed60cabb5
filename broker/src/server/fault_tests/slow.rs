//! A disk that does not answer for a while: who needs it waits, and is served when it answers.

use super::*;

/// How often what lies on the other disk is asked for meanwhile.
const ROUNDS: usize = 20;

type Slow = (Fault, &'static [(&'static str, &'static str)]);

const SLOW: &[Slow] = &[
    (Fault::StallWrites, &[]),
    (Fault::StallSyncs, &[("log.flush.interval.messages", "1")]),
];

#[test]
fn a_slow_disk_holds_up_what_lies_there_and_loses_nothing() {
    for (fault, settings) in SLOW {
        let mut disks = TwoDisks::start(1, settings);
        let [hit, neighbour, beside] = disks.topics();
        let stall: FaultGuard = inject(&disks.all_in_it(), *fault);
        let mut waiting = Vec::new();
        for topic in [&hit, &neighbour, &hit, &neighbour] {
            let mut wire = disks.running().connect();
            let value = disks.send(&mut wire, topic);
            waiting.push((wire, topic, value));
        }
        until("the disk is waited for", || stall.stalled() > 0);
        for _ in 0..ROUNDS {
            disks.goes_on(&beside);
            disks.running().http_get("/metrics");
        }
        for topic in [&hit, &neighbour] {
            assert_eq!(disks.partition(topic).high_watermark(), 3, "{fault:?}");
        }
        drop(stall);
        for (mut wire, topic, value) in waiting {
            disks.acknowledged(&mut wire, topic, value).unwrap();
        }
        assert_eq!(disks.offline_count(), 0);
        for topic in disks.topics() {
            disks.goes_on(&topic);
        }
        disks.kill_and_start(|_| {});
        for topic in disks.topics() {
            disks.goes_on(&topic);
        }
    }
}

/// The background's work is due all the time.
const BUSY_HOUSE: &[(&str, &str)] = &[
    ("log.cleanup.policy", "compact,delete"),
    ("log.cleaner.backoff.ms", "10"),
    ("log.cleaner.min.cleanable.ratio", "0.01"),
    ("log.flush.interval.ms", "10"),
    ("log.retention.check.interval.ms", "10"),
    ("log.flush.offset.checkpoint.interval.ms", "10"),
    ("log.flush.start.offset.checkpoint.interval.ms", "10"),
    ("replica.high.watermark.checkpoint.interval.ms", "10"),
];
/// Who goes from disk to disk may have the other behind it when the first stalls, but once.
const HOUSE_ROUNDS: usize = 2;
/// Calls of a directory's background work that may wait at once: eight flushes that are asked for, and retention,
/// compaction, the flush of full segments and a checkpoint.
const HELD_MAX: usize = 12;
const FLUSHES: &str = "milena_log_flush_duration_seconds_count";

/// What a checkpoint file says of a topic.
fn noted(disks: &TwoDisks, checkpoint: Checkpoint, topic: &str) -> Option<i64> {
    let offsets = checkpoint.read(disks.dir(topic != disks.beside)).unwrap();
    offsets.get(&(topic.to_owned(), 0)).copied()
}

/// A histogram is shown from its first value on.
fn flushes(disks: &TwoDisks) -> usize {
    disks.metric(FLUSHES).unwrap_or(0)
}

/// Appends to a topic, and waits until the background has done all that is to be done then.
fn is_looked_after(disks: &mut TwoDisks, topic: &str) {
    let end = disks.produce(topic).unwrap() + 1;
    disks.roll(topic);
    for checkpoint in [
        Checkpoint::Cleaner,
        Checkpoint::RecoveryPoint,
        Checkpoint::HighWatermark,
    ] {
        until(&format!("{topic}: {checkpoint:?} at {end}"), || {
            noted(disks, checkpoint, topic) == Some(end)
        });
    }
    assert_eq!(disks.delete_records(topic, end), Ok(end));
    let reader = disks.partition(topic).reader().clone();
    until(&format!("{topic}: segments below {end} are gone"), || {
        reader.segments()[0].base_offset == end
    });
    let before = flushes(disks);
    disks.produce(topic).unwrap();
    until(&format!("{topic}: a flush"), || flushes(disks) > before);
}

#[test]
fn a_disk_that_stalls_holds_up_no_others_retention_checkpoints_compaction_or_flushes() {
    let mut disks = TwoDisks::start(1, BUSY_HOUSE);
    let [hit, neighbour, beside] = disks.topics();
    disks.roll(&hit);
    disks.produce(&hit).unwrap();
    let stalls = [Fault::StallSyncs, Fault::StallWrites].map(|f| inject(&disks.all_in_it(), f));
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    {
        let _on = disks.running().data.enter();
        keep_house(&disks.running().broker, &stopping, &tasks);
    }
    until("the disk is waited for", || {
        stalls.iter().all(|stall| stall.stalled() > 0)
    });
    for _ in 0..HOUSE_ROUNDS {
        is_looked_after(&mut disks, &beside);
    }
    // However often it was due meanwhile, each is at it once.
    let held: usize = stalls.iter().map(FaultGuard::stalled).sum();
    assert!(held <= HELD_MAX, "{held} calls are stalled");
    assert_ne!(noted(&disks, Checkpoint::HighWatermark, &hit), Some(4));
    drop(stalls);
    for topic in [&hit, &neighbour, &beside] {
        is_looked_after(&mut disks, topic);
    }
    stopping.cancel();
    tasks.close();
    disks.running().data.block_on(tasks.wait());
}
