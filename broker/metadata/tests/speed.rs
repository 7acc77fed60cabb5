//! Decisions and reads on 10,000 partitions are a matter of milliseconds. The bounds are for an unoptimised build on
//! a busy machine; `cargo test --release -p milena-metadata --test speed -- --nocapture` prints what they take.

use std::time::{Duration, Instant};

use milena_metadata::*;
use milena_protocol::Uuid;

const TOPICS: u8 = 100;
const PARTITIONS: i32 = 100;
const BROKERS: i32 = 5;

/// Of what an unoptimised build takes, many times: the test finds what became quadratic.
const BOUND: Duration = Duration::from_secs(20);

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    println!("{what:<48} {:>9.2} ms", took.as_secs_f64() * 1_000.0);
    assert!(took < BOUND, "{what} took {took:?}");
    result
}

fn apply(image: &mut Image, command: impl Into<Command>) -> Decision {
    let decision = decide(image, &command.into(), &NoConfigRules).unwrap();
    image.apply_entry(1, &decision.records).unwrap();
    decision
}

fn broker(id: i32) -> BrokerId {
    BrokerId::new(id).unwrap()
}

fn register(id: i32) -> RegisterBroker {
    RegisterBroker {
        id: broker(id),
        incarnation: IncarnationId(Uuid([id as u8; 16])),
        endpoints: Vec::new(),
        node: Some(format!("node-{id}").into()),
        rack: Some(format!("rack-{}", id % 3).into()),
        pool: None,
        directories: vec![DirectoryId(Uuid([id as u8 + 1; 16]))],
        software: "test".into(),
        levels: Default::default(),
        last_end: LastEnd::Clean,
        fenced: false,
    }
}

fn cluster() -> Image {
    let mut image = Image::default();
    for id in 0..BROKERS {
        apply(&mut image, register(id));
    }
    let topic = |number: u8| NewTopic {
        name: format!("topic-{number}"),
        id: TopicId(Uuid([number + 1; 16])),
        partitions: PARTITIONS,
        replication_factor: 3,
        assignments: Vec::new(),
        configs: vec![("min.insync.replicas".into(), Some("2".into()))],
    };
    timed("create 10,000 partitions of 3 replicas", || {
        apply(
            &mut image,
            CreateTopics {
                topics: (0..TOPICS).map(topic).collect(),
                default_partitions: 1,
                default_replication_factor: 1,
                validate_only: false,
            },
        )
    });
    image
}

fn change(image: &Image, id: i32, fenced: bool) -> ChangeBroker {
    ChangeBroker {
        id: broker(id),
        epoch: image.broker(broker(id)).unwrap().epoch,
        fenced: Some(fenced),
        draining: None,
        stopping: None,
    }
}

#[test]
fn decisions_on_ten_thousand_partitions_take_milliseconds() {
    let mut image = cluster();
    let whole = image.clone();
    let fence: Command = change(&image, 0, true).into();
    let decision = timed("decide: fence one of 5 brokers", || {
        decide(&image, &fence, &NoConfigRules).unwrap()
    });
    println!("  {} records", decision.records.len());
    timed("apply it", || {
        image.apply_entry(1, &decision.records).unwrap()
    });
    let changed = timed("what changed for one broker", || {
        image.changed_partitions_of(&whole, broker(1)).count()
    });
    assert!(changed > 1_000);
    timed("health", || image.health(&NoConfigRules, Scope::Cluster));
    timed("misplaced", || placement::misplaced(&image, &NoConfigRules));

    let unfence: Command = change(&image, 0, false).into();
    timed("decide: unfence", || {
        decide(&image, &unfence, &NoConfigRules).unwrap()
    });
    apply(&mut image, unfence);
    let rejoin = rejoin(&image);
    timed("decide: one leader's ISRs", || {
        decide(&image, &rejoin, &NoConfigRules).unwrap()
    });
    timed("plan: preferred leaders", || plan::preferred(&image, 10));

    let drain = timed("plan: drain one of 5 brokers", || {
        plan::drain(&whole, &NoConfigRules, &[broker(0)])
    });
    let start: Command = AlterPartitionReassignments {
        partitions: drain.moves.iter().map(plan::Move::wanted).collect(),
        allow_replication_factor_change: false,
    }
    .into();
    timed("decide: start the drain's reassignments", || {
        decide(&whole, &start, &NoConfigRules).unwrap()
    });
    let mut grown = whole;
    apply(&mut grown, register(BROKERS));
    let even = timed("plan: rebalance onto a sixth broker", || {
        plan::rebalance(&grown, &NoConfigRules)
    });
    println!("  {} moves, {} copies", even.moves.len(), even.copies());
}

/// All that broker 1 leads, with every replica back in sync.
fn rejoin(image: &Image) -> Command {
    let epoch = |id: BrokerId| image.broker(id).unwrap().epoch;
    let of = |topic: &Topic| -> Vec<IsrProposal> {
        let led = topic
            .partitions()
            .filter(|(_, p)| p.leader == Some(broker(1)));
        led.map(|(partition, state)| IsrProposal {
            topic: topic.id,
            partition,
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: state.brokers().map(|id| (id, epoch(id))).collect(),
        })
        .collect()
    };
    AlterPartition {
        broker: broker(1),
        broker_epoch: epoch(broker(1)),
        partitions: image.topics().flat_map(|topic| of(topic)).collect(),
    }
    .into()
}
