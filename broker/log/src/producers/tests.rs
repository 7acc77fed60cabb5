use super::*;
use crate::files::Durability;

fn batch(sequence: i32, records: i32, offset: i64) -> BatchHeader {
    BatchHeader {
        base_offset: offset,
        batch_length: 49,
        partition_leader_epoch: 0,
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: 5,
        max_timestamp: 5,
        producer_id: 1,
        producer_epoch: 3,
        base_sequence: sequence,
        record_count: records,
    }
}

fn after(batches: &[BatchHeader]) -> Producers {
    let mut producers = Producers::default();
    for header in batches {
        assert_eq!(producers.check(header), Ok(SequenceCheck::New));
        producers.note(header, 0);
    }
    producers
}

#[test]
fn an_unknown_producer_may_start_at_any_sequence() {
    let producers = after(&[batch(77, 3, 0)]);
    assert_eq!(producers.check(&batch(80, 1, 0)), Ok(SequenceCheck::New));
}

#[test]
fn one_of_the_last_five_batches_is_a_duplicate_and_an_older_one_is_known_to_be_stored() {
    let batches: Vec<_> = (0..6)
        .map(|i| batch(i * 2, 2, 100 + i64::from(i) * 2))
        .collect();
    let producers = after(&batches);
    for sent in &batches[1..] {
        let duplicate = SequenceCheck::Duplicate {
            first_offset: sent.base_offset,
            last_offset: sent.base_offset + 1,
            timestamp: 5,
        };
        assert_eq!(producers.check(sent), Ok(duplicate));
    }
    let past = SequenceCheck::Past { last_offset: 111 };
    assert_eq!(producers.check(&batches[0]), Ok(past));
    assert_eq!(producers.check(&batch(1, 5, 0)), Ok(past), "divided anew");
    let gap = |header| {
        matches!(
            producers.check(&header),
            Err(SequenceError::OutOfOrder { expected: 12, .. })
        )
    };
    assert!(gap(batch(11, 2, 0)) && gap(batch(13, 1, 0)) && gap(batch(i32::MAX, 1, 0)));
}

#[test]
fn what_was_before_a_producer_was_known_is_not_known_to_be_stored() {
    let batches: Vec<_> = (10..20).map(|i| batch(i, 1, i64::from(i))).collect();
    let producers = after(&batches);
    let past = SequenceCheck::Past { last_offset: 19 };
    assert_eq!(producers.check(&batch(10, 1, 0)), Ok(past));
    assert!(producers.check(&batch(9, 1, 0)).is_err());
    assert!(producers.check(&batch(9, 2, 0)).is_err());
}

#[test]
fn old_sequences_are_told_across_the_largest() {
    let start = i32::MAX - 5;
    let batches: Vec<_> = (0..12)
        .map(|i| batch(sequence_after(start, i), 1, i64::from(i)))
        .collect();
    let producers = after(&batches);
    let past = Ok(SequenceCheck::Past { last_offset: 11 });
    assert_eq!(producers.check(&batches[0]), past);
    assert_eq!(producers.check(&batches[6]), past);
    assert!(producers.check(&batch(start - 1, 1, 0)).is_err());
}

#[test]
fn sequences_wrap_behind_the_largest() {
    let producers = after(&[batch(i32::MAX - 1, 3, 0)]);
    assert_eq!(producers.check(&batch(1, 1, 0)), Ok(SequenceCheck::New));
    let again = producers.check(&batch(i32::MAX - 1, 3, 0));
    assert!(matches!(
        again,
        Ok(SequenceCheck::Duplicate {
            first_offset: 0,
            ..
        })
    ));
}

#[test]
fn a_new_epoch_starts_at_zero_and_an_old_one_is_refused() {
    let producers = after(&[batch(0, 5, 0)]);
    let newer = |sequence| BatchHeader {
        producer_epoch: 4,
        ..batch(sequence, 1, 0)
    };
    assert_eq!(producers.check(&newer(0)), Ok(SequenceCheck::New));
    assert!(producers.check(&newer(5)).is_err());
    let older = BatchHeader {
        producer_epoch: 2,
        ..batch(5, 1, 0)
    };
    assert!(matches!(
        producers.check(&older),
        Err(SequenceError::InvalidEpoch { current: 3, .. })
    ));
}

#[test]
fn a_silent_producer_expires_by_the_brokers_clock() {
    let mut producers = after(&[batch(0, 1, 0)]);
    producers.expire(999, 1000);
    assert!(!producers.by_id.is_empty());
    producers.expire(1000, 1000);
    assert!(producers.by_id.is_empty());
}

#[test]
fn a_snapshot_keeps_each_producers_last_batch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("00000000000000000010.snapshot");
    let producers = after(&[batch(0, 4, 0), batch(4, 6, 4)]);
    write(&path, &producers, Durability::Cached).unwrap();
    let again = read(&path, 0).unwrap();
    assert_eq!(again.active(), producers.active());
    assert!(matches!(
        again.check(&batch(4, 6, 0)),
        Ok(SequenceCheck::Duplicate {
            first_offset: 4,
            ..
        })
    ));
    assert_eq!(again.check(&batch(10, 1, 0)), Ok(SequenceCheck::New));
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0.snapshot");
    write(&path, &after(&[batch(0, 4, 0)]), Durability::Cached).unwrap();
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).unwrap();
        assert!(read(&path, 0).is_err(), "byte {at}");
    }
}

#[test]
fn the_number_of_producers_is_bounded() {
    let mut producers = Producers::default();
    for id in 0..PRODUCERS_MAX as i64 + 10 {
        producers.note(
            &BatchHeader {
                producer_id: id,
                ..batch(0, 1, id)
            },
            id,
        );
    }
    assert!(producers.by_id.len() <= PRODUCERS_MAX);
    assert!(producers.by_id.contains_key(&(PRODUCERS_MAX as i64)));
    assert!(!producers.by_id.contains_key(&0));
}
