//! A compacted log and a list of records go through the same random steps, and stay equal across ends of its process and
//! losses of power at any change of its disk.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::deletion::checkpoint_start;
use super::*;
use crate::tests::seeded;

#[derive(Debug, Clone)]
enum Step {
    Append,
    Roll,
    Flush,
    /// With memory for so many bytes of keys: new segments are written.
    Compact(usize),
    /// The next of them is put in place.
    Install,
    /// At this part of what there is, of 255.
    Truncate(u8),
    /// The same.
    DeleteRecords(u8),
    /// To so many bytes.
    Retain(u64),
    CleanRestart,
    /// The disk stops at a change from here on.
    Stop(usize, End),
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop::sample::select(ENDS.to_vec());
    prop_oneof![
        12 => Just(Step::Append),
        2 => Just(Step::Roll),
        2 => Just(Step::Flush),
        3 => prop_oneof![Just(100), Just(1 << 20)].prop_map(Step::Compact),
        6 => Just(Step::Install),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => any::<u8>().prop_map(Step::DeleteRecords),
        1 => (500..6_000u64).prop_map(Step::Retain),
        1 => Just(Step::CleanRestart),
        2 => (1..80usize, end).prop_map(|(change, end)| Step::Stop(change, end)),
    ]
}

fn mixed() -> LogConfig {
    LogConfig {
        delete: true,
        ..compacting()
    }
}

struct Run {
    data: TempDir,
    life: Life,
    disk: Option<(Disk, Stop)>,
    /// What the log is to show.
    model: Found,
    /// All that was ever asked to be stored at an offset.
    ever: BTreeMap<i64, BTreeSet<(String, Option<String>)>>,
    appended: usize,
    /// What is in the model below is on disk.
    flushed: i64,
    /// The cleaner's checkpoint.
    cleaned_to: i64,
    /// What is not in place yet.
    cleaned: Option<Cleaned>,
    /// Rises with each compaction.
    now_ms: i64,
}

impl Run {
    fn new() -> Self {
        let data = scratch().unwrap();
        DataDirectory::open(data.path(), 1, Some("cluster")).unwrap();
        let (life, _) = Life::start(data.path(), mixed()).unwrap();
        Self {
            model: life.found(),
            data,
            life,
            disk: None,
            ever: BTreeMap::new(),
            appended: 0,
            flushed: 0,
            cleaned_to: 0,
            cleaned: None,
            now_ms: 1_000,
        }
    }

    /// A place between the log's start and its end.
    fn part(&self, place: u8) -> i64 {
        let (start, end) = (self.model.start, self.model.end);
        start + (end - start) * i64::from(place) / 255
    }

    fn step(&mut self, step: &Step) {
        if let Step::Stop(change, end) = *step {
            if self.disk.is_none() {
                let stop = Stop { end, change };
                self.disk = Some((stop.watch(self.data.path()), stop));
            }
            return;
        }
        let performed = self.perform(step);
        for (offset, pair) in std::mem::take(&mut self.life.told.asked) {
            self.ever.entry(offset).or_default().insert(pair);
        }
        match &self.disk {
            Some((disk, _)) if disk.has_stopped() => self.crash(step),
            Some(_) => performed.unwrap(),
            None => {
                performed.unwrap();
                assert_eq!(self.life.found().shown(), self.model.shown());
            }
        }
    }

    /// Does it to the log, and then to the model.
    fn perform(&mut self, step: &Step) -> Result<(), LogError> {
        let life = &mut self.life;
        match *step {
            Step::Append => {
                self.appended += 1;
                life.append(3, self.appended)?;
                self.model.records.append(&mut life.told.asked.clone());
                self.model.end = life.told.stored;
            }
            Step::Roll => life.log.roll(1_000)?,
            Step::Flush => {
                life.flush()?;
                self.flushed = self.model.end;
            }
            Step::Compact(key_bytes) => self.compact(key_bytes)?,
            Step::Install => self.install()?,
            Step::Truncate(place) => {
                let offset = self.part(place);
                self.life.log.truncate_to(offset, 1_000)?;
                self.model.end = self.life.log.log_end_offset();
                assert!(self.model.end <= offset);
                self.model.records.split_off(&self.model.end);
                self.model.start = self.model.start.min(self.model.end);
                self.flushed = self.flushed.min(self.model.end);
                self.life.flush()?;
                self.flushed = self.model.end;
                checkpoint_start(&self.life)?;
                self.checkpoint_cleaned();
            }
            Step::DeleteRecords(place) => {
                let offset = self.part(place);
                self.life.log.delete_records_before(offset)?;
                checkpoint_start(&self.life)?;
                self.model.start = self.model.start.max(offset);
                self.model.records = self.model.records.split_off(&self.model.start);
            }
            Step::Retain(bytes) => self.retain(bytes)?,
            Step::CleanRestart => self.restart()?,
            Step::Stop(..) => {}
        }
        Ok(())
    }

    /// What is on file after a cut, and after a start.
    fn checkpoint_cleaned(&mut self) {
        self.cleaned_to = self.life.log.reader().cleaned_to(self.cleaned_to);
    }

    fn compact(&mut self, key_bytes: usize) -> Result<(), LogError> {
        if self.cleaned.is_some() {
            return Ok(());
        }
        self.now_ms += PAUSE_MS;
        let log = &self.life.log;
        let plan = log.cleaning_plan(self.cleaned_to, i64::MAX, self.now_ms)?;
        if let Some(plan) = plan {
            self.cleaned = plan.clean(key_bytes, &mut |_| ControlFlow::Continue(()))?;
        }
        Ok(())
    }

    fn install(&mut self) -> Result<(), LogError> {
        let Some(mut cleaned) = self.cleaned.take() else {
            return Ok(());
        };
        let life = &mut self.life;
        let installed = life.log.install_next(&mut cleaned, &mut life.trash)?;
        let found = life.found();
        compaction::check(&self.model, &found);
        self.model = found;
        life.empty_trash()?;
        match installed {
            Installed::Part => self.cleaned = Some(cleaned),
            Installed::All(cleaned_to) => {
                assert!(cleaned_to <= self.model.end);
                self.cleaned_to = cleaned_to;
                self.flushed = self.flushed.max(cleaned_to);
                let mut keys = BTreeSet::new();
                let mut clean = self.model.records.range(..cleaned_to);
                assert!(clean.all(|(_, (key, _))| keys.insert(key)));
            }
            Installed::Outdated => {}
        }
        Ok(())
    }

    fn retain(&mut self, bytes: u64) -> Result<(), LogError> {
        let life = &mut self.life;
        life.log.set_config(LogConfig {
            retention_bytes: Some(bytes),
            ..mixed()
        });
        let end = life.log.log_end_offset();
        let retained = life.log.retain(end, 1_000, &mut life.trash);
        life.log.set_config(mixed());
        retained?;
        let start = life.log.log_start_offset();
        assert!(start >= self.model.start && life.log.log_end_offset() == self.model.end);
        assert!(start == self.model.start || life.log.reader().size_bytes() >= bytes);
        self.model.start = start;
        self.model.records = self.model.records.split_off(&start);
        life.empty_trash()?;
        Ok(checkpoint_start(life)?)
    }

    fn restart(&mut self) -> Result<(), LogError> {
        self.life.log.close()?;
        self.flushed = self.model.end;
        let point = self.life.log.recovery_point();
        self.life
            .checkpoint(Checkpoint::RecoveryPoint, Some(point))?;
        checkpoint_start(&self.life)?;
        let directory = DataDirectory::open(self.data.path(), 1, Some("cluster")).unwrap();
        directory.mark_clean_shutdown(5)?;
        let (life, recovery) = Life::start(self.data.path(), mixed())?;
        assert_eq!(recovery, Recovery::default());
        (self.life, self.cleaned) = (life, None);
        assert_eq!(self.life.log.log_end_offset(), self.model.end);
        Ok(())
    }

    /// The disk has stopped in this step.
    fn crash(&mut self, step: &Step) {
        let (disk, stop) = self.disk.take().unwrap();
        disk.end().unwrap();
        let starts = Checkpoint::LogStart.read(self.data.path()).unwrap();
        let start_on_file = starts.values().copied().max().unwrap_or(0);
        let (life, _) = Life::start(self.data.path(), mixed()).unwrap();
        let found = life.found();
        for (offset, pair) in &found.records {
            assert!(self.ever[offset].contains(pair), "{offset}: {pair:?}");
        }
        let kept = self.kept(step, stop);
        for (offset, pair) in &kept {
            assert_eq!(
                found.records.get(offset),
                Some(pair),
                "{offset}, by {stop:?} in {step:?}"
            );
        }
        if stop.keeps_what_is_written() {
            let or_new =
                |offset: &i64| self.model.records.contains_key(offset) || *offset >= self.model.end;
            assert!(found.records.keys().all(or_new), "what was gone is back");
            // A log that was cut below its start on file begins there.
            assert!(found.end <= start_on_file.max(self.model.end + 3));
        }
        (self.life, self.cleaned) = (life, None);
        if matches!(step, Step::Install) && stop.keeps_what_is_written() {
            compaction::check(&self.model, &found);
        }
        self.model = found;
        self.checkpoint_cleaned();
        self.life.flush().unwrap();
        self.flushed = self.model.end;
    }

    /// What must be there after the disk has stopped in a step.
    fn kept(&self, step: &Step, stop: Stop) -> Records {
        let to = if stop.keeps_what_is_written() {
            self.model.end
        } else {
            self.flushed
        };
        let mut kept = self.model.records.clone();
        match *step {
            Step::Install => {
                let latest: BTreeMap<_, _> = kept.iter().map(|(at, (key, _))| (key, *at)).collect();
                let latest: BTreeSet<i64> = latest.into_values().collect();
                kept.retain(|offset, (_, value)| value.is_some() && latest.contains(offset));
            }
            // It ends with a whole batch, of three records at most.
            Step::Truncate(place) => drop(kept.split_off(&(self.part(place) - 2))),
            Step::DeleteRecords(place) => kept = kept.split_off(&self.part(place)),
            Step::Retain(_) => {
                let active = *self.life.log.reader().segments().last().unwrap();
                kept = kept.split_off(&active.base_offset);
            }
            _ => {}
        }
        kept.split_off(&to);
        kept
    }
}

proptest! {
    #![proptest_config(seeded(200))]

    #[test]
    fn a_compacted_log_stays_equal_to_its_model_whenever_it_stops(steps in prop::collection::vec(step(), 1..80)) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
        drop(run.disk.take());
        let data = run.data;
        drop(run.life);
        next_start(data.path(), mixed());
    }
}
