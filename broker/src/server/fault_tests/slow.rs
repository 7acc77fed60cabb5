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
