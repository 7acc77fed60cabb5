//! Appends, rolls and stops: what was flushed is there, and what is behind it is there up to some batch.

use super::*;

const BATCHES: usize = 14;

fn write(life: &mut Life) -> Result<(), LogError> {
    for batch in 0..BATCHES {
        life.append((batch / 5) as i32, batch)?;
        if batch == BATCHES / 2 {
            life.flush()?;
        }
    }
    Ok(())
}

fn check(stop: Stop, told: &Told, found: &Found) {
    let (flushed, stored) = (told.flushed, told.stored);
    let least = if stop.keeps_what_is_written() {
        stored
    } else {
        flushed
    };
    assert_eq!(found.start, 0);
    assert!(found.end >= least, "{} of {least}", found.end);
    let mut expected = told.asked.clone();
    expected.split_off(&found.end);
    assert_eq!(found.records, expected);
}

#[test]
fn a_new_log_has_what_was_flushed_wherever_its_appends_and_rolls_stop() {
    let data = scratch().unwrap();
    let changes = operate(data.path(), &config(), write, check);
    assert!(changes > 40, "{changes}");
}

fn write_and_stop(life: &mut Life) -> Result<(), LogError> {
    write(life)?;
    stop(life)
}

fn stop(life: &mut Life) -> Result<(), LogError> {
    life.log.close()?;
    life.told.flushed = life.log.log_end_offset();
    life.checkpoint(Checkpoint::RecoveryPoint, Some(life.log.recovery_point()))?;
    let directory = DataDirectory::open(&life.data, 1, Some("cluster")).unwrap();
    directory.mark_clean_shutdown(5)?;
    Ok(())
}

#[test]
fn a_log_is_marked_clean_only_with_all_of_it_on_disk() {
    let data = scratch().unwrap();
    DataDirectory::open(data.path(), 1, Some("cluster")).unwrap();
    at_every_change(
        data.path(),
        |data, stop| begin(data, &config(), stop, write_and_stop),
        |data, stop, told| {
            let is_clean = is_marked_clean(data);
            let (life, recovery) = Life::start(data, config()).unwrap();
            assert!(!is_clean || life.found().records == told.asked);
            assert!(!is_clean || recovery == Recovery::default());
            drop(life);
            check(stop, &told, &next_start(data, config()));
        },
    );
}

#[test]
fn what_a_start_corrects_is_on_disk_when_the_log_is_marked_clean_again() {
    let data = scratch().unwrap();
    let mut life = Life::filled(data.path(), config(), BATCHES);
    let before = life.found();
    DataDirectory::open(data.path(), 1, Some("cluster")).unwrap();
    stop(&mut life).unwrap();
    // An epoch that never got a record.
    let epochs = data.path().join(FOLDER).join("leader-epoch-checkpoint");
    let text = fs::read_to_string(&epochs).unwrap();
    fs::write(epochs, text.replace("0\n2\n", "0\n3\n") + "9 999\n").unwrap();
    let restart = |data: &Path, at: Stop| {
        let disk = at.watch(data);
        let restarted = Life::start(data, config()).and_then(|(mut life, _)| stop(&mut life));
        assert!(disk.has_stopped() || restarted.is_ok(), "{restarted:?}");
        (disk, ())
    };
    at_every_change(data.path(), restart, |data, _, ()| {
        assert_eq!(next_start(data, config()).shown(), before.shown());
    });
}
