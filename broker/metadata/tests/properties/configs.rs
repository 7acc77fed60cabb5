//! Where a config may be set.

use milena_metadata::*;
use milena_protocol::ErrorCode;

use super::asks::{broker, configure};
use super::{apply, start};

#[test]
fn what_the_quorum_decides_by_is_of_all_brokers_or_of_a_topic_and_not_of_one_broker() {
    for (key, value) in [
        ("min.insync.replicas", "2"),
        ("placement.node.spread", "preferred"),
        ("placement.rack.spread", "required"),
    ] {
        is_of_all_brokers(key, value);
    }
}

fn is_of_all_brokers(key: &str, value: &str) {
    let mut image = start();
    let one = ConfigResource::broker(Some(broker(1)));
    let refused = apply(&mut image, &configure(one.clone(), key, Some(value))).unwrap();
    let Outcome::IncrementalAlterConfigs(answers) = refused else {
        panic!("{refused:?}")
    };
    let refusal = answers[0].as_ref().unwrap_err();
    assert_eq!(refusal.code, ErrorCode::InvalidConfig);
    let named = [key, "--entity-default"].map(|part| refusal.message.contains(part));
    assert_eq!(named, [true, true], "{}", refusal.message);
    for (resource, value) in [
        (one, None),
        (ConfigResource::broker(None), Some(value)),
        (ConfigResource::topic("a"), Some(value)),
    ] {
        let altered = apply(&mut image, &configure(resource, key, value)).unwrap();
        assert!(
            matches!(&altered, Outcome::IncrementalAlterConfigs(answers) if answers[0].is_ok()),
            "{altered:?}"
        );
    }
}
