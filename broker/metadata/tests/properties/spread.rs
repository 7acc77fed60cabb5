//! The cluster's word on nodes and racks holds for topics that have none of their own.

use milena_metadata::placement::{Breach, misplaced};
use milena_metadata::*;

use super::apply;
use super::asks::{broker, configure, create, register};

/// Brokers that run, each with its node and rack.
fn cluster(places: &[(&str, &str)]) -> Image {
    let mut image = Image::default();
    for (id, (node, rack)) in places.iter().enumerate() {
        let ask = RegisterBroker {
            node: Some((*node).into()),
            rack: Some((*rack).into()),
            ..register(id as i32, 0, LastEnd::Clean, false)
        };
        apply(&mut image, &ask.into()).unwrap();
    }
    image
}

fn say(image: &mut Image, resource: ConfigResource, key: &str, value: &str) {
    apply(image, &configure(resource, key, Some(value))).unwrap();
}

/// The brokers of the topic's only partition, or why there is none.
fn placed(image: &mut Image, topic: &str, factor: i16) -> Result<Vec<BrokerId>, String> {
    let ask = create(topic, u128::from(topic.as_bytes()[0]), 1, factor);
    let Ok(Outcome::CreateTopics(answers)) = apply(image, &ask.into()) else {
        panic!("refused")
    };
    match &answers[0] {
        Ok(_) => Ok(image.partition(topic, 0).unwrap().target()),
        Err(refusal) => Err(refusal.message.to_string()),
    }
}

#[test]
fn two_brokers_of_one_node_share_a_partition_only_where_nodes_are_preferred_and_lacking() {
    let mut image = cluster(&[("a", "r"), ("a", "r")]);
    let refused = placed(&mut image, "t", 2).unwrap_err();
    assert!(refused.contains("only 1 node(s)"), "{refused}");
    let all = ConfigResource::broker(None);
    say(&mut image, all, "placement.node.spread", "preferred");
    assert_eq!(placed(&mut image, "t", 2).unwrap().len(), 2);
    let found = misplaced(&image, &NoConfigRules);
    assert_eq!(found, [], "there is no other node");
    say(
        &mut image,
        ConfigResource::topic("t"),
        "placement.node.spread",
        "required",
    );
    assert_eq!(misplaced(&image, &NoConfigRules).len(), 1, "its own word");
    let refused = placed(&mut image, "u", 3).unwrap_err();
    assert!(refused.contains("only 2 broker(s)"), "{refused}");
}

#[test]
fn a_shared_node_that_is_only_preferred_not_to_be_is_mended_once_there_is_another() {
    let mut image = cluster(&[("a", "r"), ("a", "r")]);
    let all = ConfigResource::broker(None);
    say(&mut image, all, "placement.node.spread", "preferred");
    placed(&mut image, "t", 2).unwrap();
    assert!(plan::repair(&image, &NoConfigRules).moves.is_empty());
    let another = RegisterBroker {
        node: Some("b".into()),
        rack: Some("r".into()),
        ..register(2, 0, LastEnd::Clean, false)
    };
    apply(&mut image, &another.into()).unwrap();
    let found = misplaced(&image, &NoConfigRules);
    assert!(matches!(
        &found[0].breaches[..],
        [Breach::SharedNode { .. }]
    ));
    let moves = plan::repair(&image, &NoConfigRules).moves;
    assert!(moves[0].to.contains(&broker(2)), "{moves:?}");
}

#[test]
fn required_racks_share_replicas_evenly_and_no_two_share_one_that_need_not() {
    let mut image = cluster(&[("a", "r"), ("b", "r"), ("c", "r"), ("d", "s")]);
    assert_eq!(placed(&mut image, "free", 4).unwrap().len(), 4);
    let all = ConfigResource::broker(None);
    say(&mut image, all, "placement.rack.spread", "required");
    let two = placed(&mut image, "two", 2).unwrap();
    assert!(two.contains(&broker(3)), "one in each rack: {two:?}");
    let three = placed(&mut image, "3", 3).unwrap();
    assert!(three.contains(&broker(3)), "two and one: {three:?}");
    let refused = placed(&mut image, "wide", 4).unwrap_err();
    assert!(
        refused.contains("placement.rack.spread is required"),
        "{refused}"
    );
}
