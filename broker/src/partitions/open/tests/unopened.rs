//! Logs that a life could not open, and the lives after it.

use milena_metadata::{Elected, Partition as State};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::replica_directories;

/// A life that does nothing else, and ends in order; whether that was clean, and whether the end before was.
fn stop_in_order(dir: &Path) -> (bool, bool) {
    Runtime::new().unwrap().block_on(async {
        let broker = broker(dir).await;
        close(&broker).await
    })
}

async fn close(broker: &Arc<Broker>) -> (bool, bool) {
    let (partitions, epoch) = (broker.partitions().clone(), broker.broker_epoch());
    let was_clean = partitions.dirs()[0].known.clean_shutdown;
    let closing = crate::blocking::spawn(move || partitions.close(epoch));
    (closing.await.unwrap(), was_clean)
}

const OFFLINE: Result<i64, ErrorCode> = Err(ErrorCode::KafkaStorageError);

#[test]
fn a_log_that_ended_cleanly_without_its_first_segment_is_offline_however_later_lives_end() {
    let dir = tempfile::tempdir().unwrap();
    first_life_with(dir.path(), true, true, Some(4));
    let first = fs::read(segment(dir.path())).unwrap();
    behead(dir.path());
    for _ in 0..3 {
        // It is killed.
        assert_eq!(next_life(dir.path()), (OFFLINE, false));
    }
    assert_eq!(stop_in_order(dir.path()), (true, false));
    assert_eq!(next_life(dir.path()), (OFFLINE, false));
    fs::write(segment(dir.path()), first).unwrap();
    assert_eq!(next_life(dir.path()), (Ok(RECORDS), false));
    // What was noted of it holds no more: it was open, and then its life was killed.
    behead(dir.path());
    assert_eq!(next_life(dir.path()), (Ok(RECORDS), false));
}

#[test]
fn a_log_that_a_crash_has_left_and_nobody_could_open_costs_no_clean_stop_and_is_checked_when_it_can_be()
 {
    let dir = tempfile::tempdir().unwrap();
    first_life(dir.path(), true, false);
    let whole = fs::read(segment(dir.path())).unwrap();
    spoil(dir.path());
    assert_eq!(stop_in_order(dir.path()), (true, false));
    assert_eq!(stop_in_order(dir.path()), (true, true));
    // As the crash had left it, with a batch that was being written.
    let torn = [&whole[..], &whole[..40]].concat();
    fs::write(segment(dir.path()), torn).unwrap();
    assert_eq!(next_life(dir.path()), (Ok(RECORDS), true));
    assert_eq!(fs::read(segment(dir.path())).unwrap().len(), whole.len());
}

#[test]
fn damage_that_is_met_costs_no_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    first_life_with(dir.path(), true, true, Some(SEALED));
    spoil_sealed(dir.path());
    Runtime::new().unwrap().block_on(async {
        let broker = broker(dir.path()).await;
        {
            let here = partition(&broker, "t", 0);
            let mut log = here.log().await;
            log.append_as_follower(&batch(RECORDS, 0), 1).unwrap();
        }
        meet_damage(&broker).await;
        assert_eq!(close(&broker).await, (true, true));
    });
    let known = Checkpoint::RecoveryPoint.read(dir.path()).unwrap();
    assert_eq!(known.get(&("t".to_owned(), 0)), Some(&(RECORDS + 1)));
    assert_eq!(next_life(dir.path()), (OFFLINE, false));
}

/// A life in which the partition gets a leader, or loses it; its state then.
fn is_led(dir: &Path, wanted: bool) -> Arc<State> {
    Runtime::new().unwrap().block_on(async {
        let broker = broker(dir).await;
        let _telling = AbortOnDropHandle::new(tokio::spawn({
            let broker = broker.clone();
            async move { replica_directories::watch(&broker).await }
        }));
        let leader = || broker.image().partition("t", 0).unwrap().leader;
        let deadline = Instant::now() + Duration::from_secs(60);
        while leader().is_some() != wanted {
            assert!(Instant::now() < deadline, "{:?} leads", leader());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        broker.image().partition("t", 0).unwrap().clone()
    })
}

#[test]
fn nobody_leads_a_log_that_could_not_be_opened_until_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    first_life(dir.path(), true, true);
    let whole = fs::read(segment(dir.path())).unwrap();
    shorten(dir.path());
    for _ in 0..2 {
        let shut = is_led(dir.path(), false);
        assert_eq!(shut.unopened, shut.isr, "it stays in sync");
    }
    fs::write(segment(dir.path()), whole).unwrap();
    let led = is_led(dir.path(), true);
    assert_eq!((led.elected, led.unopened.len()), (Elected::InSync, 0));
}
