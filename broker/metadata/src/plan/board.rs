//! All partitions with their replicas as sites of a floor, while a plan is made.

use std::ops::Range;

use super::{Move, Plan, Stuck};
use crate::configs::ConfigRules;
use crate::image::Image;
use crate::names::{BrokerId, PartitionId, TopicName};
use crate::placement::{
    Breach, Floor, Ground, PlacementRefusal, Wish, breaches, candidates, uneven,
};

pub(super) struct Board {
    pub(super) floor: Floor,
    topics: Vec<TopicGround>,
    items: Vec<Item>,
}

struct TopicGround {
    name: TopicName,
    wish: Wish,
    ground: Ground,
    items: Range<usize>,
}

struct Item {
    topic: usize,
    partition: PartitionId,
    from: Vec<usize>,
    to: Vec<usize>,
    stuck: Option<PlacementRefusal>,
}

impl Board {
    pub(super) fn of(image: &Image, rules: &dyn ConfigRules) -> Self {
        let floor = Floor::of_those_that_run(&candidates(image));
        let (mut topics, mut items) = (Vec::new(), Vec::new());
        for topic in image.topics() {
            let first = items.len();
            for (partition, state) in topic.partitions() {
                let from = floor.sites_of(&state.target()).unwrap_or_default();
                items.push(Item {
                    topic: topics.len(),
                    partition,
                    to: from.clone(),
                    from,
                    stuck: None,
                });
            }
            let wish = Wish::of(image, rules, &topic.name);
            topics.push(TopicGround {
                name: topic.name.clone(),
                ground: floor.ground(&wish),
                wish,
                items: first..items.len(),
            });
        }
        Self {
            floor,
            topics,
            items,
        }
    }

    pub(super) fn items(&self) -> Range<usize> {
        0..self.items.len()
    }

    pub(super) fn items_of(&self, topic: &str) -> Range<usize> {
        let topic = self.topics.iter().find(|has| has.name.as_str() == topic);
        topic.map_or(0..0, |topic| topic.items.clone())
    }

    pub(super) fn replicas(&self, item: usize) -> &[usize] {
        &self.items[item].to
    }

    pub(super) fn ground(&self, item: usize) -> &Ground {
        &self.topics[self.items[item].topic].ground
    }

    pub(super) fn wish(&self, item: usize) -> &Wish {
        &self.topics[self.items[item].topic].wish
    }

    /// Lets nothing new onto these brokers, and says which sites they are.
    pub(super) fn close(&mut self, brokers: &[BrokerId]) -> Vec<usize> {
        let closed = |floor: &Floor, site: &usize| brokers.contains(&floor.sites[*site].id);
        let all = 0..self.floor.sites.len();
        let sites: Vec<usize> = all.filter(|site| closed(&self.floor, site)).collect();
        for &site in &sites {
            self.floor.sites[site].open = false;
        }
        sites
    }

    /// Where the item's replicas are to be.
    pub(super) fn set(&mut self, item: usize, to: Vec<usize>) {
        self.floor.release(&self.items[item].to);
        self.floor.take(&to);
        self.items[item].to = to;
    }

    /// Replaces the replicas that do not stay.
    pub(super) fn refill(&mut self, item: usize, stays: impl Fn(usize) -> bool) {
        let before = &self.items[item].to;
        let wanted = before.len();
        let mut set: Vec<usize> = before.iter().copied().filter(|&site| stays(site)).collect();
        let kept = set.len();
        let (wish, ground) = (self.wish(item), self.ground(item));
        match self.floor.fill(wish, ground, wanted, &mut set) {
            Err(why) => self.items[item].stuck = Some(why),
            Ok(()) => {
                let to = self.in_places(item, &set[..kept], &set[kept..]);
                self.set(item, to);
            }
        }
    }

    /// Newcomers take the places of those who left. Only a vacant first place is given to whoever leads least.
    fn in_places(&self, item: usize, kept: &[usize], new: &[usize]) -> Vec<usize> {
        let before = &self.items[item].to;
        let mut newcomers = new.iter();
        let place = |site: &usize| match kept.contains(site) {
            true => Some(*site),
            false => newcomers.next().copied(),
        };
        let mut to: Vec<usize> = before.iter().filter_map(place).collect();
        if before.first().is_some_and(|first| !kept.contains(first)) {
            let best = self.best_leader(item, &to);
            to.swap(0, best);
        }
        to
    }

    /// The place of the replica that should lead.
    fn best_leader(&self, item: usize, replicas: &[usize]) -> usize {
        let ground = self.ground(item);
        let cost = |place: &usize| {
            let site = &self.floor.sites[replicas[*place]];
            let rack = ground.shuns_leader(site.rack);
            (site.fenced || !site.open, rack, site.load.leaders, *place)
        };
        (0..replicas.len()).min_by_key(cost).unwrap_or(0)
    }

    /// Replaces replicas on brokers that take none.
    pub(super) fn leave_closed(&mut self, item: usize) {
        let closed: Vec<usize> = (0..self.floor.sites.len())
            .filter(|&site| !self.floor.sites[site].open)
            .collect();
        if self.replicas(item).iter().any(|site| closed.contains(site)) {
            self.refill(item, |site| !closed.contains(&site));
        }
    }

    /// Mends what is misplaced: one replica at a time, the fewest that will do.
    pub(super) fn repair(&mut self) {
        for item in self.items() {
            // Each step replaces one replica by one that breaks nothing.
            for _ in 0..self.replicas(item).len() {
                let Some(step) = self.next_repair(item) else {
                    break;
                };
                match step {
                    Repair::Lead(place) => {
                        let mut to = self.items[item].to.clone();
                        to.swap(0, place);
                        self.set(item, to);
                    }
                    Repair::Replace(out) => self.refill(item, |site| site != out),
                }
                if self.items[item].stuck.is_some() {
                    break;
                }
            }
        }
    }

    fn next_repair(&self, item: usize) -> Option<Repair> {
        let (ground, replicas) = (self.ground(item), self.replicas(item));
        let found = breaches(&self.floor, ground, replicas);
        let at = |id: &BrokerId| {
            let here = replicas.iter().copied();
            here.rev().find(|&site| self.floor.sites[site].id == *id)
        };
        match found.first()? {
            Breach::SharedNode { brokers, .. } | Breach::NotAllowed { brokers } => {
                brokers.last().and_then(at).map(Repair::Replace)
            }
            Breach::UnevenRacks { .. } => {
                let (crowded, _) = uneven(&self.floor, ground, replicas)?;
                let mut last = replicas.iter().rev();
                let out = last.find(|&&site| self.floor.sites[site].rack == crowded)?;
                Some(Repair::Replace(*out))
            }
            Breach::LeaderRack { .. } => {
                let mut places = 0..replicas.len();
                let there = places.find(|&place| {
                    let site = &self.floor.sites[replicas[place]];
                    Some(site.rack) == ground.leader_rack && !site.fenced
                });
                // Where no replica is in that rack, the preferred leader itself goes there.
                Some(there.map_or(Repair::Replace(replicas[0]), Repair::Lead))
            }
        }
    }

    /// Adds or takes replicas. Those that go are the last of the order that break nothing by going.
    pub(super) fn resize(&mut self, item: usize, factor: usize) {
        let mut to = self.items[item].to.clone();
        while to.len() > factor {
            let out = self.least_needed(item, &to);
            to.remove(out);
        }
        match self
            .floor
            .fill(self.wish(item), self.ground(item), factor, &mut to)
        {
            Ok(()) => self.set(item, to),
            Err(why) => self.items[item].stuck = Some(why),
        }
    }

    /// The place of the replica whose going spoils least: never the preferred leader.
    fn least_needed(&self, item: usize, replicas: &[usize]) -> usize {
        let ground = self.ground(item);
        let cost = |place: &usize| {
            let mut rest = replicas.to_vec();
            let out = &self.floor.sites[rest.remove(*place)];
            let spoils = breaches(&self.floor, ground, &rest).len();
            (
                out.open && !out.fenced,
                spoils,
                std::cmp::Reverse(out.load.replicas),
                std::cmp::Reverse(*place),
            )
        };
        (1..replicas.len()).min_by_key(cost).unwrap_or(0)
    }

    /// Adds replicas up to the factor, or as many as there is room for.
    pub(super) fn grow(&mut self, item: usize, factor: usize) {
        let present = self.items[item].to.len();
        for wanted in (present + 1..=factor).rev() {
            let mut to = self.items[item].to.clone();
            let (wish, ground) = (self.wish(item), self.ground(item));
            if self.floor.fill(wish, ground, wanted, &mut to).is_ok() {
                self.set(item, to);
                return;
            }
        }
    }

    pub(super) fn plan(self) -> Plan {
        let mut plan = Plan::default();
        for item in self.items {
            let topic = self.topics[item.topic].name.clone();
            if item.to != item.from {
                plan.moves.push(Move {
                    topic: topic.clone(),
                    partition: item.partition,
                    from: self.floor.ids(&item.from),
                    to: self.floor.ids(&item.to),
                });
            }
            if let Some(why) = item.stuck {
                let partition = item.partition;
                plan.stuck.push(Stuck {
                    topic,
                    partition,
                    why,
                });
            }
        }
        plan
    }
}

enum Repair {
    /// The replica at this place leads.
    Lead(usize),
    /// The replica on this site goes elsewhere.
    Replace(usize),
}
