//! Where a config may be set.

use milena_metadata::*;
use milena_protocol::ErrorCode;

use super::asks::{broker, configure};
use super::{apply, start};

#[test]
fn one_broker_has_no_min_insync_replicas_of_its_own() {
    let mut image = start();
    let key = "min.insync.replicas";
    let one = ConfigResource::broker(Some(broker(1)));
    let refused = apply(&mut image, &configure(one.clone(), key, Some("1"))).unwrap();
    let Outcome::IncrementalAlterConfigs(answers) = refused else {
        panic!("{refused:?}")
    };
    let refusal = answers[0].as_ref().unwrap_err();
    assert_eq!(refusal.code, ErrorCode::InvalidConfig);
    assert!(
        refusal.message.contains("--entity-default"),
        "{}",
        refusal.message
    );
    for (resource, value) in [
        (one, None),
        (ConfigResource::broker(None), Some("2")),
        (ConfigResource::topic("a"), Some("2")),
    ] {
        let altered = apply(&mut image, &configure(resource, key, value)).unwrap();
        assert!(
            matches!(&altered, Outcome::IncrementalAlterConfigs(answers) if answers[0].is_ok()),
            "{altered:?}"
        );
    }
}
