//! The brokers of a placement with their nodes and racks by number, and the choice among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Candidate, NodeSpread, PlacementRefusal, RackSpread, Wish};
use crate::image::Load;
use crate::names::BrokerId;

/// A broker, by its place in the floor.
pub(crate) struct Site {
    pub(crate) id: BrokerId,
    /// Sites of one node share the number.
    pub(crate) node: usize,
    /// Sites of one rack share the number.
    pub(crate) rack: usize,
    /// Takes new replicas: not draining.
    pub(crate) open: bool,
    /// Can't lead now.
    pub(crate) fenced: bool,
    pub(crate) load: Load,
    pool: Option<Arc<str>>,
}

/// All brokers, and what they carry while a placement is made.
pub(crate) struct Floor {
    pub(crate) sites: Vec<Site>,
    pub(crate) racks: Vec<Option<Arc<str>>>,
    pub(crate) nodes: Vec<Arc<str>>,
    /// Whether a broker that is away gets new replicas.
    fenced_take: bool,
    leaders_by_rack: Vec<u32>,
    by_id: BTreeMap<BrokerId, usize>,
}

/// What one wish makes of the floor.
pub(crate) struct Ground {
    /// By site: whether it may have a replica.
    pub(crate) allowed: Vec<bool>,
    /// The number of [`Wish::leader_rack`].
    pub(crate) leader_rack: Option<usize>,
    pub(crate) node_spread: NodeSpread,
}

impl Ground {
    /// Whether preferred leaders should be elsewhere than in this rack.
    pub(crate) fn shuns_leader(&self, rack: usize) -> bool {
        self.leader_rack.is_some_and(|wanted| wanted != rack)
    }
}

impl Floor {
    pub(crate) fn of(brokers: &[Candidate]) -> Self {
        let mut floor = Self {
            sites: Vec::with_capacity(brokers.len()),
            racks: Vec::new(),
            nodes: Vec::new(),
            fenced_take: true,
            leaders_by_rack: Vec::new(),
            by_id: BTreeMap::new(),
        };
        let (mut nodes, mut racks) = (BTreeMap::new(), BTreeMap::new());
        for broker in brokers {
            // A broker without a node counts as a machine of its own.
            let node = match &broker.node {
                Some(name) => *nodes.entry(name.clone()).or_insert(floor.nodes.len()),
                None => floor.nodes.len(),
            };
            if node == floor.nodes.len() {
                let name = broker.node.clone();
                let name = name.unwrap_or_else(|| format!("of broker {}", broker.id).into());
                floor.nodes.push(name);
            }
            let rack = *racks.entry(&broker.rack).or_insert(floor.racks.len());
            if rack == floor.racks.len() {
                floor.racks.push(broker.rack.clone());
                floor.leaders_by_rack.push(0);
            }
            floor.leaders_by_rack[rack] += broker.load.leaders;
            floor.by_id.insert(broker.id, floor.sites.len());
            floor.sites.push(Site {
                id: broker.id,
                node,
                rack,
                open: !broker.draining,
                fenced: broker.fenced,
                load: broker.load,
                pool: broker.pool.clone(),
            });
        }
        floor
    }

    /// For partitions that are there: a new replica copies, and a move to a broker that is away would never end.
    pub(crate) fn of_those_that_run(brokers: &[Candidate]) -> Self {
        Self {
            fenced_take: false,
            ..Self::of(brokers)
        }
    }

    pub(crate) fn ground(&self, wish: &Wish) -> Ground {
        let named = |names: &BTreeSet<Arc<str>>, name: &Option<Arc<str>>| {
            names.is_empty() || name.as_ref().is_some_and(|name| names.contains(name))
        };
        let allows = |site: &Site| {
            named(&wish.pools, &site.pool) && named(&wish.racks, &self.racks[site.rack])
        };
        let leader_rack = wish.leader_rack.as_ref();
        Ground {
            allowed: self.sites.iter().map(allows).collect(),
            leader_rack: leader_rack.and_then(|wanted| {
                self.racks
                    .iter()
                    .position(|rack| rack.as_ref() == Some(wanted))
            }),
            node_spread: wish.node_spread,
        }
    }

    /// The sites of brokers; `None` where one is not registered.
    pub(crate) fn sites_of(&self, brokers: &[BrokerId]) -> Option<Vec<usize>> {
        let site = |id: &BrokerId| self.by_id.get(id).copied();
        brokers.iter().map(site).collect()
    }

    pub(crate) fn ids(&self, sites: &[usize]) -> Vec<BrokerId> {
        sites.iter().map(|&site| self.sites[site].id).collect()
    }

    /// Adds a partition's replicas to what their sites carry.
    pub(crate) fn take(&mut self, replicas: &[usize]) {
        for (place, &site) in replicas.iter().enumerate() {
            self.sites[site].load.replicas += 1;
            self.sites[site].load.leaders += u32::from(place == 0);
            self.leaders_by_rack[self.sites[site].rack] += u32::from(place == 0);
        }
    }

    /// Takes a partition's replicas from what their sites carry.
    pub(crate) fn release(&mut self, replicas: &[usize]) {
        for (place, &site) in replicas.iter().enumerate() {
            self.sites[site].load.replicas -= 1;
            self.sites[site].load.leaders -= u32::from(place == 0);
            self.leaders_by_rack[self.sites[site].rack] -= u32::from(place == 0);
        }
    }

    /// Whether partitions that are wholly new can be placed at all.
    pub(crate) fn check(&self, wish: &Wish, ground: &Ground) -> Result<(), PlacementRefusal> {
        if wish.replication_factor == 0 {
            return Err(PlacementRefusal::NoReplicas);
        }
        self.check_count(wish, ground, wish.replication_factor, &[])?;
        if self.usable(ground).all(|site| self.sites[site].fenced) {
            return Err(PlacementRefusal::NobodyLeads);
        }
        Ok(())
    }

    /// The sites that may get a replica.
    pub(crate) fn usable<'a>(&'a self, ground: &'a Ground) -> impl Iterator<Item = usize> + 'a {
        (0..self.sites.len()).filter(|&site| self.takes(site) && ground.allowed[site])
    }

    fn takes(&self, site: usize) -> bool {
        let site = &self.sites[site];
        site.open && (self.fenced_take || !site.fenced)
    }

    fn check_count(
        &self,
        wish: &Wish,
        ground: &Ground,
        wanted: usize,
        chosen: &[usize],
    ) -> Result<(), PlacementRefusal> {
        let usable: BTreeSet<usize> = self.usable(ground).chain(chosen.iter().copied()).collect();
        let brokers = usable.len();
        let nodes: BTreeSet<usize> = usable.iter().map(|&site| self.sites[site].node).collect();
        let open = (0..self.sites.len()).filter(|&site| self.takes(site));
        let open = open.count();
        if wanted > brokers && brokers < open {
            Err(PlacementRefusal::TooFewAllowed {
                wanted,
                brokers,
                open,
            })
        } else if wanted > brokers {
            Err(PlacementRefusal::TooFewBrokers { wanted, brokers })
        } else if wanted > nodes.len() && wish.node_spread == NodeSpread::Required {
            let nodes = nodes.len();
            Err(PlacementRefusal::TooFewNodes {
                wanted,
                brokers,
                nodes,
            })
        } else {
            Ok(())
        }
    }

    /// Adds sites until there are `wanted`. Each choice takes the site that breaks the rules least; since it uses
    /// up exactly one node, no choice spoils a later one. The first of all is the preferred leader.
    pub(crate) fn fill(
        &self,
        wish: &Wish,
        ground: &Ground,
        wanted: usize,
        chosen: &mut Vec<usize>,
    ) -> Result<(), PlacementRefusal> {
        self.check_count(wish, ground, wanted, chosen)?;
        let mut on_node = vec![0_u32; self.nodes.len()];
        let mut in_rack = vec![0_u32; self.racks.len()];
        for &site in chosen.iter() {
            on_node[self.sites[site].node] += 1;
            in_rack[self.sites[site].rack] += 1;
        }
        while chosen.len() < wanted {
            let leads = chosen.is_empty();
            let cost = |&index: &usize| {
                let site = &self.sites[index];
                let leaders = if leads { site.load.leaders } else { 0 };
                let rack_leaders = if leads {
                    self.leaders_by_rack[site.rack]
                } else {
                    0
                };
                (
                    on_node[site.node],
                    leads && site.fenced,
                    leads && ground.shuns_leader(site.rack),
                    in_rack[site.rack],
                    site.fenced,
                    (leaders, rack_leaders, site.load.replicas),
                    site.id,
                )
            };
            let free = self.usable(ground).filter(|site| !chosen.contains(site));
            let Some(best) = free.min_by_key(cost) else {
                let brokers = chosen.len();
                return Err(PlacementRefusal::TooFewBrokers { wanted, brokers });
            };
            let crowded = on_node[self.sites[best].node] > 0;
            if crowded && wish.node_spread == NodeSpread::Required {
                let (brokers, nodes) = (self.usable(ground).count(), chosen.len());
                return Err(PlacementRefusal::TooFewNodes {
                    wanted,
                    brokers,
                    nodes,
                });
            }
            on_node[self.sites[best].node] += 1;
            in_rack[self.sites[best].rack] += 1;
            chosen.push(best);
        }
        match wish.rack_spread {
            RackSpread::Required => self.check_racks(ground, &in_rack),
            RackSpread::Preferred => Ok(()),
        }
    }

    fn check_racks(&self, ground: &Ground, in_rack: &[u32]) -> Result<(), PlacementRefusal> {
        // One whose brokers are away is still to have its share.
        let sites = self.sites.iter().zip(&ground.allowed);
        let racks: BTreeSet<usize> = sites
            .filter(|(site, allowed)| site.open && **allowed)
            .map(|(site, _)| site.rack)
            .collect();
        let least = racks.iter().min_by_key(|&&rack| in_rack[rack]);
        let most = in_rack.iter().max().copied().unwrap_or(0);
        match least {
            Some(&rack) if in_rack[rack] + 1 < most => Err(PlacementRefusal::UnevenRacks {
                racks: racks.len(),
                short: self.racks[rack].clone().unwrap_or_default(),
                room: in_rack[rack] as usize,
            }),
            _ => Ok(()),
        }
    }
}
