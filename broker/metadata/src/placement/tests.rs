//! The four rules, each as a property.

use super::*;
use proptest::prelude::*;

fn brokers(of: &[(Option<u8>, u8)]) -> Vec<Candidate> {
    of.iter()
        .enumerate()
        .map(|(id, (node, rack))| Candidate {
            id: BrokerId::new(id as i32).unwrap(),
            node: node.map(|node| format!("node-{rack}-{node}").into()),
            rack: Some(format!("rack-{rack}").into()),
            pool: None,
            draining: false,
            fenced: false,
            load: Load::default(),
        })
        .collect()
}

fn wish(partitions: usize, replication_factor: usize) -> Wish {
    Wish {
        partitions,
        replication_factor,
        ..Wish::default()
    }
}

#[test]
fn one_broker_takes_everything_and_no_second_replica() {
    let one = brokers(&[(None, 0)]);
    let placed = place(&one, &wish(3, 1), &[]).unwrap();
    assert_eq!(placed, vec![vec![one[0].id]; 3]);
    let refusal = place(&one, &wish(1, 2), &[]).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "The target replication factor of 2 cannot be reached because only 1 broker(s) are registered."
    );
}

#[test]
fn a_shared_node_is_refused_unless_it_is_only_preferred_not_to() {
    let shared = brokers(&[(Some(1), 0), (Some(1), 0), (Some(2), 0)]);
    let refusal = place(&shared, &wish(1, 3), &[]).unwrap_err();
    assert!(matches!(
        refusal,
        PlacementRefusal::TooFewNodes { nodes: 2, .. }
    ));
    let lenient = Wish {
        node_spread: NodeSpread::Preferred,
        ..wish(1, 3)
    };
    assert_eq!(place(&shared, &lenient, &[]).unwrap()[0].len(), 3);
}

#[test]
fn what_is_placed_stays_and_a_draining_broker_gets_nothing_new() {
    let mut three = brokers(&[(None, 0), (None, 1), (None, 2)]);
    three[0].draining = true;
    let today = vec![vec![three[0].id]];
    let placed = place(&three, &wish(5, 1), &today).unwrap();
    assert_eq!(placed[0], today[0]);
    assert!(
        placed[1..]
            .iter()
            .all(|brokers| !brokers.contains(&three[0].id))
    );
}

proptest! {
    #[test]
    fn replicas_are_on_distinct_nodes_over_all_racks_and_leaders_are_even(
        of in prop::collection::vec((prop::option::of(0..4u8), 0..3u8), 1..9),
        partitions in 1..40usize,
        factor in 1..5usize,
    ) {
        let brokers = brokers(&of);
        let by_id = |id: BrokerId| &brokers[id.get() as usize];
        let Ok(placed) = place(&brokers, &wish(partitions, factor), &[]) else {
            let nodes: BTreeSet<_> = brokers.iter().map(node).collect();
            prop_assert!(nodes.len() < factor);
            return Ok(());
        };
        for replicas in &placed {
            let nodes: BTreeSet<_> = replicas.iter().map(|&id| node(by_id(id))).collect();
            prop_assert_eq!(nodes.len(), factor);
            let nodes_in = |rack: &Option<Arc<str>>| {
                let there = brokers.iter().filter(|broker| broker.rack == *rack);
                there.map(node).collect::<BTreeSet<_>>().len()
            };
            let used = |rack: &Option<Arc<str>>| {
                replicas.iter().filter(|&&id| by_id(id).rack == *rack).count()
            };
            // A rack may fall behind another by more than one only where its nodes are used up.
            for (one, other) in brokers.iter().zip(brokers.iter().skip(1)) {
                let (few, many) = (used(&one.rack), used(&other.rack));
                prop_assert!(many <= few + 1 || few == nodes_in(&one.rack));
            }
        }
        let mut leaders = vec![0; brokers.len()];
        placed.iter().for_each(|replicas| leaders[replicas[0].get() as usize] += 1);
        let (least, most) = (leaders.iter().min(), leaders.iter().max());
        prop_assert!(most.unwrap() - least.unwrap() <= 1);
    }
}

fn node(broker: &Candidate) -> String {
    let own = || format!("of {}", broker.id);
    broker.node.as_ref().map_or_else(own, ToString::to_string)
}

fn spread(counts: &[u32]) -> u32 {
    counts.iter().max().unwrap() - counts.iter().min().unwrap()
}

fn loads(brokers: &[Candidate], placed: &Assignment) -> (Vec<u32>, Vec<u32>) {
    let mut replicas = vec![0; brokers.len()];
    let mut leaders = vec![0; brokers.len()];
    for list in placed {
        leaders[list[0].get() as usize] += 1;
        list.iter().for_each(|id| replicas[id.get() as usize] += 1);
    }
    (replicas, leaders)
}

#[test]
fn a_refusal_names_the_rule_that_cant_be_met() {
    let mut four = brokers(&[(None, 0), (None, 0), (None, 0), (None, 1)]);
    let in_rack_1 = Wish {
        racks: ["rack-1".into()].into(),
        ..wish(1, 2)
    };
    let refusal = place(&four, &in_rack_1, &[]).unwrap_err().to_string();
    assert!(refusal.contains("only 1 of 4 broker(s)"), "{refusal}");
    let even = Wish {
        rack_spread: RackSpread::Required,
        ..wish(1, 4)
    };
    let refusal = place(&four, &even, &[]).unwrap_err().to_string();
    assert!(
        refusal.contains("rack 'rack-1' has room for only 1"),
        "{refusal}"
    );
    four.iter_mut().for_each(|broker| broker.fenced = true);
    assert_eq!(
        place(&four, &wish(1, 1), &[]),
        Err(PlacementRefusal::NobodyLeads)
    );
}

proptest! {
    #[test]
    fn replicas_and_leaders_are_even_per_broker_and_leaders_per_rack(
        racks in 1..4usize,
        each in 1..4usize,
        partitions in 1..60usize,
        factor in 1..4usize,
    ) {
        let of: Vec<_> = (0..racks * each).map(|n| (None, (n % racks) as u8)).collect();
        let brokers = brokers(&of);
        let Ok(placed) = place(&brokers, &wish(partitions, factor), &[]) else {
            prop_assert!(racks * each < factor);
            return Ok(());
        };
        let (replicas, leaders) = loads(&brokers, &placed);
        prop_assert!(spread(&replicas) <= 2, "{replicas:?}");
        prop_assert!(spread(&leaders) <= 1, "{leaders:?}");
        let mut by_rack = vec![0; racks];
        for (broker, led) in leaders.iter().enumerate() {
            by_rack[broker % racks] += led;
        }
        prop_assert!(spread(&by_rack) <= 1, "{by_rack:?}");
    }

    #[test]
    fn a_wish_for_pools_racks_and_a_leader_rack_is_kept(
        of in prop::collection::vec((prop::option::of(0..4u8), 0..3u8, 0..2u8, any::<bool>()), 1..9),
        partitions in 1..20usize,
        factor in 1..4usize,
        pool in 0..2u8,
        rack in 0..3u8,
    ) {
        let places: Vec<_> = of.iter().map(|one| (one.0, one.1)).collect();
        let mut brokers = brokers(&places);
        for (broker, one) in brokers.iter_mut().zip(&of) {
            broker.pool = Some(format!("pool-{}", one.2).into());
            broker.draining = one.3;
        }
        let pool: Arc<str> = format!("pool-{pool}").into();
        let rack: Arc<str> = format!("rack-{rack}").into();
        let wish = Wish {
            pools: [pool.clone()].into(),
            leader_rack: Some(rack.clone()),
            ..wish(partitions, factor)
        };
        let Ok(placed) = place(&brokers, &wish, &[]) else { return Ok(()) };
        let by_id = |id: BrokerId| &brokers[id.get() as usize];
        let able = |broker: &&Candidate| broker.pool.as_ref() == Some(&pool) && !broker.draining;
        let leader_there = brokers.iter().filter(able).any(|b| b.rack.as_ref() == Some(&rack));
        for replicas in &placed {
            prop_assert!(replicas.iter().all(|&id| able(&by_id(id))));
            prop_assert_eq!(by_id(replicas[0]).rack.as_ref() == Some(&rack), leader_there);
        }
    }

    #[test]
    fn an_even_spread_over_racks_is_kept_or_refused_where_it_is_required(
        of in prop::collection::vec((Just(None), 0..3u8), 1..9),
        factor in 1..5usize,
    ) {
        let brokers = brokers(&of);
        let wish = Wish { rack_spread: RackSpread::Required, ..wish(3, factor) };
        let racks: BTreeSet<_> = of.iter().map(|one| one.1).collect();
        let room = |rack: &u8| of.iter().filter(|one| one.1 == *rack).count();
        let even = racks.iter().all(|rack| room(rack) >= factor / racks.len());
        match place(&brokers, &wish, &[]) {
            Ok(placed) => for replicas in placed {
                let used = racks.iter().map(|rack| {
                    let there = replicas.iter().filter(|id| of[id.get() as usize].1 == *rack);
                    there.count() as u32
                });
                prop_assert!(spread(&used.collect::<Vec<_>>()) <= 1);
            },
            Err(PlacementRefusal::UnevenRacks { .. }) => {
                let least = racks.iter().map(room).min().unwrap();
                prop_assert!(!even || least < factor.div_ceil(racks.len()));
            }
            Err(_) => prop_assert!(of.len() < factor),
        }
    }
}
