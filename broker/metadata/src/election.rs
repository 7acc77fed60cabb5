//! What a partition's state becomes when its brokers, its ISR or its wanted replicas change: who is in sync, who
//! is eligible, who leads, and whether a reassignment is done (KIP-966, KIP-455).
//!
//! [`settle`] looks at the state alone, whatever led to it. What is settled stays as it is.

use crate::image::{Broker, Image};
use crate::names::{BrokerId, DirectoryId};
use crate::policy::TopicPolicy;
use crate::record::{Elected, LastEnd, PartitionRecord, Reassignment, Replica};

/// What happened to brokers, beyond the state that the image has them in now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn {
    /// New lives: nothing is led on in an epoch of the life before.
    pub(crate) restarted: Vec<BrokerId>,
    /// Of those, the lives whose start found that records may be missing.
    pub(crate) unclean: Vec<BrokerId>,
}

impl Turn {
    /// Whether records of this replica may be missing: the broker's life ended badly, where that costs what was not
    /// synced, or its directory is gone.
    fn loses(&self, image: &Image, policy: TopicPolicy, replica: &Replica) -> bool {
        let Replica { broker, directory } = replica;
        let life = image.broker(*broker);
        // Of a directory that is known by its id, and there.
        let is_synced = policy.synced
            && *directory != DirectoryId::UNASSIGNED
            && life.is_some_and(|life| life.last_end == LastEnd::Unclean);
        (self.unclean.contains(broker) && !is_synced) || self.is_gone(image, replica)
    }

    /// Whether nothing is left of this replica: the broker has come back without its directory.
    fn is_gone(&self, image: &Image, replica: &Replica) -> bool {
        let life = image.broker(replica.broker);
        self.restarted.contains(&replica.broker)
            && life.is_some_and(|life| {
                life.last_end == LastEnd::None || !is_online(life, replica.directory)
            })
    }

    /// The replicas of which nothing is left, while something is left of others.
    fn gone(&self, image: &Image, partition: &PartitionRecord) -> Vec<BrokerId> {
        let replicas = partition.replicas.iter();
        let gone: Vec<BrokerId> = replicas
            .filter(|replica| self.is_gone(image, replica))
            .map(|replica| replica.broker)
            .collect();
        match gone.len() == partition.replicas.len() {
            true => Vec::new(),
            false => gone,
        }
    }
}

/// The in-sync replicas that writes need. While a partition is reassigned the smaller set counts: new replicas
/// that are on their way must not stop the writes of a partition that had fewer.
pub(crate) fn min_isr(
    configured: usize,
    replicas: usize,
    reassignment: Option<&Reassignment>,
) -> usize {
    let wanted = reassignment.map_or(replicas, |both| both.from.len().min(both.to.len()));
    configured.min(wanted).max(1)
}

/// The state after `next`, which is `before` with what was asked; `None` where `before` stays as it is.
///
/// A member that is fenced, or that restarted, leaves the ISR if one that is neither stays. Where none does, all
/// stay: each of them has every committed record, and whoever is back first leads.
pub(crate) fn settle(
    image: &Image,
    policy: TopicPolicy,
    turn: &Turn,
    before: &PartitionRecord,
    mut next: PartitionRecord,
) -> Option<PartitionRecord> {
    let lost: Vec<BrokerId> = next
        .replicas
        .iter()
        .filter(|replica| turn.loses(image, policy, replica))
        .map(|replica| replica.broker)
        .collect();
    let gone = turn.gone(image, &next);
    next.unopened.retain(|id| !turn.restarted.contains(id));
    let last_leader = next.leader.or(next.last_leader);
    let last_leader = last_leader.filter(|id| !gone.contains(id));
    if last_leader.is_none() {
        // Its empty log would cut those that others have.
        (next.leader, next.last_leader) = (None, None);
    }
    next.isr.retain(|member| !lost.contains(member));
    next.elr.retain(|member| !lost.contains(member));
    move_to_online_directories(image, turn, &mut next);
    let stays = |id: &BrokerId| is_up(image, &next, *id) && !turn.restarted.contains(id);
    let stay: Vec<BrokerId> = next.isr.iter().copied().filter(stays).collect();
    if !stay.is_empty() {
        next.isr = stay;
    }
    let leads_anew = before.leader.is_some_and(|id| turn.restarted.contains(&id));
    let mut lossy = lead(image, policy, turn, &mut next);
    if complete(image, policy, &mut next) {
        // Who leads by now was found after its restart.
        lossy |= lead(image, policy, &Turn::default(), &mut next);
    }
    update_elr(policy, (!lossy).then_some(before), &lost, &mut next);
    if next == *before && !leads_anew {
        return None;
    }
    if next.leader != before.leader || leads_anew {
        next.leader_epoch += 1;
        next.last_leader = last_leader;
    }
    next.partition_epoch += 1;
    Some(next)
}

/// As [`settle`], by order: of a leader who is in the ISR, or of one who may lack records.
pub(crate) fn install(
    policy: TopicPolicy,
    before: &PartitionRecord,
    leader: BrokerId,
    elected: Elected,
) -> PartitionRecord {
    let mut next = before.clone();
    let lossy = seat(&mut next, leader, elected);
    update_elr(policy, (!lossy).then_some(before), &[], &mut next);
    next.leader_epoch += 1;
    next.partition_epoch += 1;
    next.last_leader = before.leader.or(before.last_leader);
    next
}

/// Whether a replica is served: its broker is not fenced, its directory is online, and its log was opened as far as is
/// known.
pub(crate) fn is_up(image: &Image, partition: &PartitionRecord, id: BrokerId) -> bool {
    let replica = partition
        .replicas
        .iter()
        .find(|replica| replica.broker == id);
    match (replica, image.broker(id)) {
        (Some(replica), Some(broker)) => {
            let is_opened = !partition.unopened.contains(&id);
            is_opened && !broker.fenced && is_online(broker, replica.directory)
        }
        _ => false,
    }
}

pub(crate) fn is_online(broker: &Broker, directory: DirectoryId) -> bool {
    broker.has_online(directory)
}

/// Whether a replica may take a leadership that another can do.
pub(crate) fn may_take(image: &Image, partition: &PartitionRecord, id: BrokerId) -> bool {
    is_up(image, partition, id) && image.broker(id).is_some_and(|broker| !broker.is_leaving())
}

/// A replica whose directory a new life comes without starts anew, in one that this life has.
fn move_to_online_directories(image: &Image, turn: &Turn, next: &mut PartitionRecord) {
    for replica in &mut next.replicas {
        let restarted = turn.restarted.contains(&replica.broker);
        let life = image.broker(replica.broker).filter(|_| restarted);
        if life.is_some_and(|life| !is_online(life, replica.directory)) {
            replica.directory = directory(image, replica.broker);
        }
    }
}

/// The broker's only directory; where there are several, the broker chooses and says so (KIP-858).
pub(crate) fn directory(image: &Image, broker: BrokerId) -> DirectoryId {
    match image.broker(broker).map(|broker| &*broker.directories) {
        Some(&[only]) => only,
        _ => DirectoryId::UNASSIGNED,
    }
}

/// Ends a reassignment when every new replica is in sync, the ISR stays as large as the old set's part of it and
/// does not fall below the minimum, and one of the new set can lead. Whether it is ended.
fn complete(image: &Image, policy: TopicPolicy, next: &mut PartitionRecord) -> bool {
    let Some(reassignment) = &next.reassignment else {
        return false;
    };
    let in_sync = |id: &BrokerId| next.isr.contains(id);
    let kept = reassignment.to.iter().filter(|id| in_sync(id)).count();
    let served = reassignment.from.iter().filter(|id| in_sync(id)).count();
    let (all, in_sync_now) = (reassignment.to.len(), next.isr.len());
    let min = min_isr(policy.min_insync_replicas, all, Some(reassignment));
    let enough = kept >= served.min(all) && kept >= min.min(in_sync_now);
    let mut led = reassignment.to.iter().filter(|id| in_sync(id));
    let done = reassignment.adding().all(|id| in_sync(&id))
        && enough
        && led.any(|&id| is_up(image, next, id));
    if done {
        let to = reassignment.to.clone();
        next.reassignment = None;
        host(next, &to);
    }
    done
}

/// Makes these the replicas, of those that are there already. The others leave the ISR and the ELR too.
pub(crate) fn host(next: &mut PartitionRecord, brokers: &[BrokerId]) {
    let replica = |id: &BrokerId| next.replicas.iter().find(|has| has.broker == *id).copied();
    next.replicas = brokers.iter().filter_map(replica).collect();
    next.unopened.retain(|id| brokers.contains(id));
    in_order(next);
}

/// Keeps the ISR and the ELR in the order of the replicas, and only those.
pub(crate) fn in_order(next: &mut PartitionRecord) {
    let order: Vec<BrokerId> = next.brokers().collect();
    let place = |id: &BrokerId| order.iter().position(|other| other == id);
    for members in [&mut next.isr, &mut next.elr] {
        members.retain(|id| order.contains(id));
        members.sort_by_key(place);
    }
}

/// Keeps a leader that may go on, and otherwise finds one. Whether one was found who may lack records.
fn lead(image: &Image, policy: TopicPolicy, turn: &Turn, next: &mut PartitionRecord) -> bool {
    let goes_on = next.leader.filter(|&leader| {
        next.isr.contains(&leader)
            && is_up(image, next, leader)
            && !turn.restarted.contains(&leader)
    });
    let found = match goes_on {
        Some(leader) if may_take(image, next, leader) => Some((leader, next.elected)),
        Some(leader) => find(next, |id| {
            next.isr.contains(&id) && may_take(image, next, id)
        })
        .map(|other| (other, Elected::InSync))
        .or(Some((leader, next.elected))),
        None => elect(image, policy, next),
    };
    match found {
        Some((leader, elected)) => {
            let lossy = seat(next, leader, elected);
            let up = |id: &BrokerId| is_up(image, next, *id);
            next.isr = next.isr.iter().copied().filter(up).collect();
            lossy
        }
        None => {
            next.leader = None;
            false
        }
    }
}

/// The first that leads without loss; else the last known leader, where nobody is left who would; else, where
/// that is allowed, anybody.
fn elect(
    image: &Image,
    policy: TopicPolicy,
    partition: &PartitionRecord,
) -> Option<(BrokerId, Elected)> {
    let first = |members: &dyn Fn(BrokerId) -> bool| {
        find(partition, |id| {
            members(id) && may_take(image, partition, id)
        })
        .or_else(|| find(partition, |id| members(id) && is_up(image, partition, id)))
    };
    let last_known = || {
        let nobody = partition.isr.is_empty() && partition.elr.is_empty();
        let last = partition.leader.or(partition.last_leader)?;
        (nobody && partition.hosts(last) && is_up(image, partition, last)).then_some(last)
    };
    let unclean = || {
        let allowed = policy.unclean_election.then_some(());
        allowed.and_then(|()| least_lossy(image, partition))
    };
    let with = |elected| move |id| (id, elected);
    first(&|id| partition.isr.contains(&id))
        .map(with(Elected::InSync))
        .or_else(|| first(&|id| partition.elr.contains(&id)).map(with(Elected::Eligible)))
        .or_else(|| last_known().map(with(Elected::LastKnown)))
        .or_else(|| unclean().map(with(Elected::Unclean)))
}

/// The first replica that is up, of those whose brokers live on the disks that they had before, if there is one.
pub(crate) fn least_lossy(image: &Image, partition: &PartitionRecord) -> Option<BrokerId> {
    let up = |id: BrokerId| is_up(image, partition, id);
    let has_old_disks = |id: BrokerId| {
        let life = image.broker(id);
        life.is_some_and(|life| life.last_end != LastEnd::None)
    };
    find(partition, |id| {
        up(id) && may_take(image, partition, id) && has_old_disks(id)
    })
    .or_else(|| find(partition, |id| up(id) && has_old_disks(id)))
    .or_else(|| find(partition, up))
}

/// The first replica that will do, in the order of preference.
fn find(partition: &PartitionRecord, will_do: impl Fn(BrokerId) -> bool) -> Option<BrokerId> {
    partition.brokers().find(|&id| will_do(id))
}

/// Gives the leadership. Who was not in the ISR is alone in it, and who may lack records makes the others
/// ineligible: from now on its log is the partition's. Whether that is so.
fn seat(next: &mut PartitionRecord, leader: BrokerId, elected: Elected) -> bool {
    next.leader = Some(leader);
    next.elected = elected;
    if next.isr.contains(&leader) {
        return false;
    }
    next.isr = vec![leader];
    if elected.may_lose() {
        next.elr.clear();
    }
    elected.may_lose()
}

/// While the ISR is below the minimum the high watermark stands still, so whoever was in the ISR goes on having
/// every committed record; from the minimum on it moves, and nobody outside has. `before` is the state whose
/// members have, if they still do.
fn update_elr(
    policy: TopicPolicy,
    before: Option<&PartitionRecord>,
    lost: &[BrokerId],
    next: &mut PartitionRecord,
) {
    let min = min_isr(
        policy.min_insync_replicas,
        next.replicas.len(),
        next.reassignment.as_ref(),
    );
    if next.isr.len() >= min {
        next.elr.clear();
        return;
    }
    if let Some(before) = before {
        let eligible = before.isr.iter().chain(&before.elr);
        next.elr.extend(eligible.filter(|id| !lost.contains(id)));
    }
    next.elr.retain(|id| !next.isr.contains(id));
    in_order(next);
    next.elr.dedup();
}
