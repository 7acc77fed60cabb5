//! What goes wrong in each history.

use milena_simulation::network::Latency;
use milena_simulation::{clock, disk};

use super::Run;

/// Clients write for so long before, and between two acts.
const WHILE_MS: u64 = 1_000;
/// Down until it is started.
const STAYS_DOWN_MS: u64 = 10 * 60 * 1_000;
/// A process that is started again as soon as it has ended.
const RESTART_MS: u64 = 2;
/// Three connections, questions and answers over a slow network.
const FOUNDED_BY_MS: u64 = 4_000;
/// What a busy disk takes for a sync, at least and at most: more than an election's shortest pause.
const BUSY_SYNC_MS: (u64, u64) = (80, 250);
/// Each by chance meets other delays.
const LEADERS_KILLED: usize = 5;
const ASKED_EACH_MS: u64 = 10;
/// The lease, the votes on disk, and one election that was lost.
const LED_ANEW_MS: u64 = 2_500;
/// Another disk, and the start of a process.
const WIPE_MS: u64 = 20;

/// All stays well.
pub fn nothing(_: &mut Run) {}

/// Voters are asked whether they are empty, and answer in time; the votes that the founder asks for then have less time,
/// and come too late. Nobody else knows of the cluster.
pub fn first_votes_come_late(run: &mut Run) {
    let (usual, slow) = (
        Latency::default(),
        Latency {
            min_ms: 200,
            max_ms: 250,
            ..Latency::default()
        },
    );
    run.set_latency(slow);
    run.pass(FOUNDED_BY_MS);
    run.set_latency(usual);
}

/// Two of three replicas die, one after the other, and are fenced by a quorum that lives on. The last one is below
/// `min.insync.replicas`: nothing may be committed by it alone. It loses its power, and what it has not synced, and it
/// is the first to be back; its last life's end keeps it from leading again.
pub fn last_in_sync_loses_power(run: &mut Run) {
    let [alone, first, second] = [4, 5, 1];
    run.until_well(alone);
    run.pass(WHILE_MS);
    for dies in [first, second] {
        run.cluster.kill(dies, STAYS_DOWN_MS);
        run.reach("the dead one is fenced", |run| {
            run.view.all(alone, |said| !said.isr.contains(&dies))
        });
        run.pass(WHILE_MS);
    }
    run.lose_power(alone, WIPE_MS);
    run.pass(4 * WHILE_MS);
    for back in [first, second] {
        run.cluster.start(back);
    }
}

/// A leader can't reach the other brokers, nor they it; its clients do. What it appends is not committed and will be
/// cut, so that nobody who sends it again may be told that it is there.
pub fn leader_is_cut_from_brokers(run: &mut Run) {
    run.until_well(1);
    run.pass(WHILE_MS);
    run.cut_off(1, 2..=3);
    run.reach("another leads", |run| {
        (2..=3).all(|broker| run.view.all(broker, |said| said.leader > 1))
    });
    run.pass(WHILE_MS);
}

/// A leader's process dies and is started again before anybody finds that it was gone.
pub fn leader_restarts_at_once(run: &mut Run) {
    run.until_well(1);
    run.pass(WHILE_MS);
    run.cluster.kill(1, RESTART_MS);
    run.pass(2 * WHILE_MS);
}

/// One voter misses a while. Of the two that know of it, one loses its disk and the other dies: the two that are left
/// must not be a majority. The one behind has not led the quorum: openraft does not let a leader see a follower forget.
pub fn voter_is_wiped_beside_one_behind(run: &mut Run) {
    run.until_well(3);
    let killed = run.quorum_leader().map_or(1, |(leader, _)| leader);
    let (behind, wiped) = (killed % 3 + 1, (killed + 1) % 3 + 1);
    run.pass(WHILE_MS);
    let all = run.all_machines();
    run.cut_machine_off(behind, &all);
    run.reach("who is behind is fenced", |run| {
        run.view.all(killed, |said| !said.isr.contains(&behind))
    });
    // Leaders change, in epochs that the one behind has not heard of.
    run.cluster.kill(killed, RESTART_MS);
    run.pass(3 * WHILE_MS);
    run.cluster.wipe(wiped, WIPE_MS);
    run.cluster.kill(killed, STAYS_DOWN_MS);
    run.heal();
    run.pass(4 * WHILE_MS);
    run.cluster.start(killed);
}

/// A wiped voter is a new learner, and the leader that it asks writes it into its log, and the learner's; but it has
/// lost its office by then, and nobody else ever has the entry. Who was taken for a moment has to ask again.
pub fn wiped_voter_joins_in_vain(run: &mut Run) {
    run.until_well(1);
    let led = run.quorum_leader().map_or(1, |(leader, _)| leader);
    let wiped = if led == 5 { 4 } else { 5 };
    run.pass(WHILE_MS);
    run.cluster.wipe(wiped, WIPE_MS);
    for others in (1..=5).filter(|other| ![led, wiped].contains(other)) {
        run.cut_off(others, [led, wiped].into_iter());
    }
    // For two seconds it asks who is there, and for five whether it may join. Then it believes its own log, at the latest
    // when it has asked each of the others in vain, six seconds each: a question on its way would be answered on mending.
    run.pass(36 * WHILE_MS);
}

/// A voter and the quorum's leader do not hear each other, and all others hear both: nobody else has to lead.
pub fn one_link_is_bad(run: &mut Run) {
    run.until_well(1);
    let before = run.quorum_leader();
    let led = before.map_or(1, |(leader, _)| leader);
    run.cut_off(led, [led % 3 + 1].into_iter());
    run.pass(5 * WHILE_MS);
    run.heal();
    run.pass(2 * WHILE_MS);
    let after = run.quorum_leader();
    if after != before {
        run.wrong(format!(
            "leader and term of the quorum were {before:?}, and are {after:?} for one bad link"
        ));
    }
}

/// A vote lasts only once it is on disk, on the one that asks and on the one that gives it, and each disk is busy.
pub fn quorum_leader_dies_on_busy_disks(run: &mut Run) {
    run.until_well(1);
    disk::set_sync_ms(BUSY_SYNC_MS);
    for _ in 0..LEADERS_KILLED {
        run.pass(WHILE_MS);
        let killed = run.quorum_leader().map_or(1, |(leader, _)| leader);
        run.cluster.kill(killed, STAYS_DOWN_MS);
        let since_ms = clock::elapsed_ms();
        while run
            .quorum_leader()
            .is_none_or(|(leader, _)| leader == killed)
        {
            run.pass(ASKED_EACH_MS);
        }
        let gone_ms = clock::elapsed_ms() - since_ms;
        if gone_ms > LED_ANEW_MS {
            run.wrong(format!(
                "on busy disks the quorum had no leader for {gone_ms} ms"
            ));
        }
        run.cluster.start(killed);
        run.pass(2 * WHILE_MS);
    }
    disk::calm();
}
