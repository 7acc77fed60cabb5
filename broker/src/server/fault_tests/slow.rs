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

#[test]
fn appends_do_not_wait_while_a_compaction_finds_out_how_old_the_segments_are() {
    let mut disks = TwoDisks::start(1, &[("log.cleanup.policy", "compact")]);
    let hit = disks.hit.clone();
    disks.roll(&hit);
    disks.produce(&hit).unwrap();
    // What the life before knew of the full segment is to be read anew.
    assert!(disks.stop_and_start());
    let full = disks.folder(&hit).join(format!("{:020}.", 0));
    let stall = inject(&full.display().to_string(), Fault::StallReads);
    let partitions = disks.running().broker.partitions().clone();
    let compacting =
        std::thread::spawn(move || partitions.compact(1, &|| UNHURRIED, &CancellationToken::new()));
    until("the compaction reads", || stall.stalled() > 0);
    on_time("an append", || {
        disks.produce(&hit).unwrap();
    });
    drop(stall);
    compacting.join().unwrap();
    assert_eq!(noted(&disks, Checkpoint::Cleaner, &hit), Some(3));
}

#[test]
fn appends_do_not_wait_while_a_move_brings_its_copy_to_disk() {
    let mut disks = TwoDisks::start(1, &[]);
    let hit = disks.hit.clone();
    let partition = disks.partition(&hit);
    let partitions = disks.running().broker.partitions().clone();
    partitions.move_to(&partition, 0).unwrap();
    let begun = disks
        .running()
        .data
        .block_on(partitions.moves().next_begun());
    let one = begun[0].clone();
    let mut future = one.future_log();
    one.copy(&mut future, u64::MAX).unwrap();
    assert!(one.announce());
    let copy = disks.dir(false).join(format!("{hit}-0."));
    let stall = inject(&copy.display().to_string(), Fault::StallSyncs);
    let finishing = std::thread::spawn(move || partitions.finish_move(&one, &mut future, 1 << 20));
    until("the copy is brought to disk", || stall.stalled() > 0);
    on_time("an append", || {
        disks.produce(&hit).unwrap();
    });
    drop(stall);
    assert_eq!(finishing.join().unwrap().unwrap(), Finish::Moved);
    assert!(partition.reader().folder().starts_with(disks.dir(false)));
    disks.check(&hit);
}
