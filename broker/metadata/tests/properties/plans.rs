//! Plans keep the rules, reach what they are for, and copy no more than they must.

use std::collections::BTreeMap;

use milena_metadata::placement::misplaced;
use milena_metadata::plan::{self, Plan};
use milena_metadata::*;
use proptest::prelude::*;

use super::apply;
use super::asks::{broker, change, create, register};

/// Where each broker stands: node and rack.
type Places = Vec<(Option<u8>, u8)>;

fn name(kind: &str, number: u8) -> std::sync::Arc<str> {
    format!("{kind}-{number}").into()
}

/// Topics that were placed by hand, with brokers that stand elsewhere now.
fn cluster(places: &Places, assignments: Vec<Vec<Vec<i32>>>) -> Image {
    let mut image = Image::default();
    for id in 0..places.len() {
        let ask = register(id as i32, 0, LastEnd::Clean, false);
        apply(&mut image, &ask.into()).unwrap();
    }
    for (index, assignment) in assignments.into_iter().enumerate() {
        let mut ask = create(&format!("t{index}"), index as u128 + 1, -1, -1);
        let lists = assignment.into_iter().enumerate();
        ask.topics[0].assignments = lists.map(|(p, list)| (p as i32, list)).collect();
        let _ = apply(&mut image, &ask.into()).unwrap();
    }
    for (id, (node, rack)) in places.iter().enumerate() {
        let ask = RegisterBroker {
            node: node.map(|node| name("node", node)),
            rack: Some(name("rack", *rack)),
            ..register(id as i32, 1, LastEnd::Clean, false)
        };
        apply(&mut image, &ask.into()).unwrap();
    }
    image
}

fn clusters(racks: u8, shared: bool) -> impl Strategy<Value = Image> {
    let node = match shared {
        true => prop::option::of(0..5u8).boxed(),
        false => Just(None).boxed(),
    };
    let places = prop::collection::vec((node, 0..racks), 3..7);
    places.prop_flat_map(|places| {
        let all: Vec<i32> = (0..places.len() as i32).collect();
        let topic = (1..4usize).prop_flat_map(move |factor| {
            let list = prop::sample::subsequence(all.clone(), factor).prop_shuffle();
            prop::collection::vec(list, 1..12)
        });
        prop::collection::vec(topic, 1..4)
            .prop_map(move |assignments| cluster(&places, assignments))
    })
}

/// Of each rule, whether it is only preferred.
#[derive(Clone, Copy, Debug)]
struct Preferring {
    nodes: bool,
    racks: bool,
}

impl ConfigRules for Preferring {
    fn check(&self, _: ResourceKind, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn list_default(&self, _: ResourceKind, _: &str) -> Option<String> {
        None
    }

    fn default_value(&self, _: ResourceKind, key: &str) -> Option<String> {
        let word = |preferred| match preferred {
            true => "preferred".to_owned(),
            false => "required".to_owned(),
        };
        match key {
            "placement.node.spread" => Some(word(self.nodes)),
            "placement.rack.spread" => Some(word(self.racks)),
            _ => None,
        }
    }
}

fn follow(image: &Image, plan: &Plan) -> Image {
    let mut image = image.clone();
    let ask = AlterPartitionReassignments {
        partitions: plan.moves.iter().map(plan::Move::wanted).collect(),
        allow_replication_factor_change: true,
    };
    let Ok(Outcome::AlterPartitionReassignments(answers)) = apply(&mut image, &ask.into()) else {
        panic!("refused")
    };
    for (one, answer) in plan.moves.iter().zip(answers) {
        answer.unwrap_or_else(|why| panic!("{one:?}: {why}"));
    }
    image
}

fn counts(image: &Image) -> (Vec<u32>, Vec<u32>) {
    let loads = image.brokers().map(|broker| image.load(broker.id));
    loads.map(|load| (load.replicas, load.leaders)).unzip()
}

fn spread(counts: &[u32]) -> u32 {
    counts.iter().max().unwrap() - counts.iter().min().unwrap()
}

/// The copies without which no even assignment can be had.
fn copies_min(replicas: &[u32]) -> usize {
    let mut sorted = replicas.to_vec();
    sorted.sort_by_key(|count| std::cmp::Reverse(*count));
    let (sum, count) = (sorted.iter().sum::<u32>(), sorted.len() as u32);
    let wanted = |place: usize| sum / count + u32::from((place as u32) < sum % count);
    let over = sorted.iter().enumerate();
    over.map(|(place, &has)| has.saturating_sub(wanted(place)) as usize)
        .sum()
}

proptest! {
    #[test]
    fn a_drain_copies_what_the_broker_has_and_leaves_all_else(image in clusters(3, false), id in 0..3i32) {
        let drained = broker(id);
        let plan = plan::drain(&image, &NoConfigRules, &[drained]);
        let everywhere = |list: &[BrokerId]| list.len() == image.brokers().count();
        for stuck in &plan.stuck {
            let partition = image.partition(&stuck.topic, stuck.partition.get()).unwrap();
            prop_assert!(everywhere(&partition.target()), "each other broker has a node");
        }
        let left = plan.stuck.len() as u32;
        prop_assert_eq!(plan.copies() as u32 + left, image.load(drained).replicas);
        let after = follow(&image, &plan);
        prop_assert_eq!(after.load(drained).replicas, left);
        prop_assert!(plan::drain(&after, &NoConfigRules, &[drained]).moves.is_empty());
    }

    #[test]
    fn a_drain_says_which_partition_has_nowhere_to_go(image in clusters(2, true), id in 0..3i32) {
        let drained = broker(id);
        let plan = plan::drain(&image, &NoConfigRules, &[drained]);
        let hosted = image.load(drained).replicas as usize;
        prop_assert_eq!(plan.moves.len() + plan.stuck.len(), hosted);
        let before: BTreeMap<_, _> = shared(&image);
        let after = shared(&follow(&image, &plan));
        for (partition, nodes) in after {
            prop_assert!(nodes <= before[&partition], "{partition:?} shares a node by the plan");
        }
    }

    #[test]
    fn a_repair_mends_every_rule_or_says_which_one_it_cant(image in clusters(3, true)) {
        let plan = plan::repair(&image, &NoConfigRules);
        let after = follow(&image, &plan);
        for left in misplaced(&after, &NoConfigRules) {
            let named = plan.stuck.iter().any(|stuck| {
                (&stuck.topic, stuck.partition) == (&left.topic, left.partition)
            });
            prop_assert!(named, "{left:?}");
        }
        let moved = plan.moves.len();
        prop_assert!(moved <= misplaced(&image, &NoConfigRules).len(), "it moves what is misplaced");
    }

    #[test]
    fn a_repair_ends_whatever_is_only_preferred(
        image in clusters(3, true), nodes in any::<bool>(), racks in any::<bool>()
    ) {
        let rules = Preferring { nodes, racks };
        let after = follow(&image, &plan::repair(&image, &rules));
        let again = plan::repair(&after, &rules);
        prop_assert!(again.moves.is_empty(), "{rules:?}: {:?}", again.moves);
    }

    #[test]
    fn a_rebalance_is_even_with_the_fewest_copies(image in clusters(1, false)) {
        let plan = plan::rebalance(&image, &NoConfigRules);
        let after = follow(&image, &plan);
        let (replicas, leaders) = counts(&after);
        prop_assert!(spread(&replicas) <= 1, "{replicas:?}");
        // What one leads another could take over: orders alone can do no more.
        for (_, partition) in after.topics().flat_map(|topic| topic.partitions()) {
            let brokers = partition.target();
            let led = |id: &BrokerId| leaders[id.get() as usize];
            prop_assert!(brokers.iter().all(|id| led(&brokers[0]) <= led(id) + 1), "{leaders:?}");
        }
        prop_assert_eq!(plan.copies(), copies_min(&counts(&image).0));
        let again = plan::rebalance(&after, &NoConfigRules);
        prop_assert!(again.moves.is_empty());
    }

    #[test]
    fn a_rebalance_ends_keeps_the_rules_and_finds_nothing_more(image in clusters(3, true)) {
        let plan = plan::rebalance(&image, &NoConfigRules);
        let after = follow(&image, &plan);
        let broken = misplaced(&after, &NoConfigRules).len();
        prop_assert!(broken <= plan.stuck.len());
        if plan.stuck.is_empty() {
            let again = plan::rebalance(&after, &NoConfigRules);
            prop_assert!(again.moves.is_empty(), "{:?}", again.moves);
        }
    }

    #[test]
    fn no_plan_copies_to_a_broker_that_is_away(image in clusters(3, true), id in 0..3i32, factor in 1..5usize) {
        let mut image = image;
        fence(&mut image, id, true);
        let rules = &NoConfigRules;
        let plans = [
            plan::drain(&image, rules, &[broker((id + 1) % 3)]),
            plan::repair(&image, rules),
            plan::rebalance(&image, rules),
            plan::replication(&image, rules, "t0", factor),
            plan::grow(&image, rules, &[("t0", factor)]),
        ];
        for plan in &plans {
            prop_assert!(plan.moves.iter().all(|one| one.copies().all(|to| to != broker(id))), "{plan:?}");
        }
    }

    #[test]
    fn topics_grow_to_the_factor_or_to_what_there_is_room_for(image in clusters(2, true), factor in 1..5usize) {
        let plan = plan::grow(&image, &NoConfigRules, &[("t0", factor)]);
        let after = follow(&image, &plan);
        let topic = |image: &Image| image.topic("t0").unwrap().clone();
        let nodes = nodes(&image);
        for ((_, before), (_, after)) in topic(&image).partitions().zip(topic(&after).partitions()) {
            let (before, after) = (before.target(), after.target());
            prop_assert!(after.starts_with(&before), "none loses a replica");
            // Replicas that share a node use one up between them.
            let room = nodes - (before.len() - shared_by(&image, &before));
            let can = match shared_by(&image, &before) {
                0 => before.len() + room,
                _ => before.len(),
            };
            prop_assert!(after.len() >= factor.min(can));
            prop_assert!(after.len() <= factor.max(before.len()));
        }
    }
}

fn nodes(image: &Image) -> usize {
    let named = image.brokers().filter_map(|broker| broker.node.clone());
    let named: std::collections::BTreeSet<_> = named.collect();
    named.len()
        + image
            .brokers()
            .filter(|broker| broker.node.is_none())
            .count()
}

/// Replicas beyond the first of their node.
fn shared_by(image: &Image, brokers: &[BrokerId]) -> usize {
    let nodes: Vec<_> = brokers
        .iter()
        .filter_map(|id| image.broker(*id).unwrap().node.clone())
        .collect();
    let distinct: std::collections::BTreeSet<_> = nodes.iter().collect();
    nodes.len() - distinct.len()
}

fn shared(image: &Image) -> BTreeMap<(TopicName, i32), usize> {
    let of = |topic: &Topic| {
        let name = topic.name.clone();
        let count = |(number, partition): (PartitionId, &std::sync::Arc<Partition>)| {
            let shared = shared_by(image, &partition.target());
            ((name.clone(), number.get()), shared)
        };
        topic.partitions().map(count).collect::<Vec<_>>()
    };
    image.topics().flat_map(|topic| of(topic)).collect()
}

fn fence(image: &mut Image, id: i32, fenced: bool) {
    let ask = change(image, id, [Some(fenced), None, None]);
    apply(image, &ask.into()).unwrap();
}

#[test]
fn a_drain_is_stuck_while_the_only_other_broker_is_away_and_leaves_it_what_it_has() {
    let places = (0..4).map(|_| (None, 0)).collect();
    let mut image = cluster(&places, vec![vec![vec![0, 1, 2], vec![0, 2, 3]]]);
    fence(&mut image, 3, true);
    let drain = |image: &Image| plan::drain(image, &NoConfigRules, &[broker(2)]);
    let now = drain(&image);
    let stuck: Vec<i32> = now.stuck.iter().map(|one| one.partition.get()).collect();
    let ids = |list: [i32; 3]| list.map(broker);
    assert_eq!((stuck.as_slice(), now.moves.len()), (&[0][..], 1));
    assert_eq!(now.moves[0].to, ids([0, 1, 3]));
    fence(&mut image, 3, false);
    let then = drain(&image);
    assert_eq!(
        (then.stuck.len(), then.moves[0].to.as_slice()),
        (0, &ids([0, 1, 3])[..])
    );
}

#[test]
fn a_new_topic_may_have_a_replica_on_a_broker_that_is_away_where_the_others_do_not_suffice() {
    let places = (0..3).map(|_| (None, 0)).collect();
    let mut image = cluster(&places, Vec::new());
    fence(&mut image, 0, true);
    apply(&mut image, &create("new", 9, 1, 3).into()).unwrap();
    let made = image.partition("new", 0).unwrap();
    assert!(made.hosts(broker(0)) && !made.isr.contains(&broker(0)));
}
