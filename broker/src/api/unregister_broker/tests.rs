//! Who can be forgotten, and who can't.

use milena_protocol::ErrorCode;
use milena_protocol::api::unregister_broker::UnregisterBrokerRequest;

use super::handle;
use crate::broker::tests::beside::{create_on, fence, id, register};
use crate::broker::tests::{broker, context};

#[tokio::test]
async fn a_broker_is_forgotten_once_it_is_stopped_and_hosts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let me = broker.node_id();
    for other in [101, 102] {
        register(&broker, other, None).await;
    }
    create_on(&broker, "t", &[&[me, 101]]).await;
    let unregister = async |broker_id| {
        let request = UnregisterBrokerRequest { broker_id };
        handle(&broker, &context(0), request).await
    };
    let running = unregister(102).await;
    assert_eq!(running.error_code, ErrorCode::InvalidRequest);
    assert!(running.error_message.unwrap().contains("stop it first"));
    fence(&broker, 101).await;
    let hosts = unregister(101).await;
    assert!(hosts.error_message.unwrap().contains("1 replica(s)"));
    for unknown in [-1, 555] {
        let answer = unregister(unknown).await;
        assert_eq!(answer.error_code, ErrorCode::BrokerIdNotRegistered);
    }
    fence(&broker, 102).await;
    assert_eq!(unregister(102).await.error_code, ErrorCode::None);
    assert!(broker.image().broker(id(102)).is_none());
}
