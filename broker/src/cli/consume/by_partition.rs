//! Reading partitions without a group. Those that are offline are left out and looked at again, and hold up no others.
//!
//! Every [`LOOK_EVERY`] the leaders are asked for the partitions' ends: one that is offline for [`LEADERLESS_MAX`] is not
//! fetched any more, for a fetch waits until each partition has a leader. Where a log is damaged its end is told all the
//! same, and what is there is read: so a partition that has more, and moves no further, is fetched by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_client::admin::{Offsets, When};
use milena_client::{Client, Consumer, ConsumerOptions, Error, StartAt};
use tokio::time::{Instant, sleep_until, timeout};

use super::left_out::{LeftOut, ReadOn, Suspects, read_on};
use super::{ConsumeArgs, LEADERLESS_MAX, LOOK_WITHIN, Printer, gone, partitions};
use crate::cli::failure::{Exit, Failure, Stop};
use crate::cli::offline::{self, AllOffline, Offline, Place, Told};
use crate::cli::stop_asked::StopAsked;

/// How often it is looked which partitions can be read, and which there are.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// So many partitions are fetched by themselves in one look.
const FETCHED_MAX: usize = 16;

/// Reads until the end, Ctrl-C, or until nobody reads what is printed.
pub(super) async fn run(client: &Client, args: &ConsumeArgs) -> Result<(), Stop> {
    let mut reading = Reading::start(client, args).await?;
    let mut printer = Printer::new(args);
    let mut stop = StopAsked::listen()?;
    loop {
        if printer.is_done() {
            return Ok(());
        }
        if reading.is_at_end() {
            return Ok(reading.left_out.at_end()?);
        }
        let look_at = reading.look_at;
        tokio::select! {
            polled = reading.consumer.poll() => match polled {
                Ok(fetched) => drop(printer.print(&fetched, reading.ends.as_ref())?),
                Err(error) => reading.failed(error).await?,
            },
            () = sleep_until(look_at) => reading.look().await?,
            _ = stop.asked() => return Ok(()),
        }
    }
}

/// Partitions that are read, and those that can't be.
struct Reading<'a> {
    client: &'a Client,
    args: &'a ConsumeArgs,
    from: StartAt,
    begun_ms: i64,
    consumer: Consumer,
    /// Where it is to end, where it is.
    ends: Option<Offsets>,
    left_out: LeftOut,
    suspects: Suspects,
    look_at: Instant,
    /// Where the last look has found the consumer.
    was_at: BTreeMap<Place, i64>,
}

/// What a look finds.
#[derive(Default)]
struct Seen {
    offline: AllOffline,
    /// Partitions that can be read on, with the end that each has now.
    back: Vec<(Place, i64, i64)>,
    added: Vec<Place>,
}

impl<'a> Reading<'a> {
    async fn start(client: &'a Client, args: &'a ConsumeArgs) -> Result<Self, Stop> {
        let wanted = partitions(client, args).await?;
        let from = args.from.unwrap_or(StartAt::When(When::End));
        let begun_ms = jiff::Timestamp::now().as_millisecond();
        let mut placed = place(client, &wanted, from).await?;
        let ends = match args.exit {
            true => Some(ends(client, &mut placed).await?),
            false => None,
        };
        let mut reading = Self {
            client,
            args,
            from,
            begun_ms,
            consumer: Consumer::new(client.clone(), ConsumerOptions::default()),
            ends,
            left_out: LeftOut::default(),
            suspects: Suspects::default(),
            look_at: Instant::now() + LOOK_EVERY,
            was_at: placed.offsets.clone(),
        };
        if reading.are_needed(&placed.offline, &placed.offsets) {
            return Err(needed(&placed.offline).into());
        }
        reading.leave_out(&placed.offline, placed.offsets);
        Ok(reading)
    }

    /// Whether all that is read of is at its end.
    fn is_at_end(&self) -> bool {
        let Some(ends) = &self.ends else { return false };
        let mut positions = self.consumer.positions().iter();
        positions.all(|(place, at)| ends.get(place) <= Some(at))
    }

    /// Whether there is no point in going on without them: they were asked for by number, or nothing else is left.
    fn are_needed(&self, offline: &AllOffline, positions: &Offsets) -> bool {
        let is_all = positions.keys().all(|place| offline.contains_key(place));
        !offline.is_empty() && (is_all || !self.args.partitions.is_empty())
    }

    /// Reads at these positions from now on, but for those that are offline.
    fn leave_out(&mut self, offline: &AllOffline, mut positions: Offsets) {
        if !offline.is_empty() {
            eprintln!("left out: {}", offline::in_words(offline));
        }
        for (place, why) in offline {
            let position = positions.remove(place);
            self.left_out.put(place.clone(), *why, position);
        }
        self.consumer.assign(positions);
    }

    /// The consumer has given up: it goes on without those that are offline, where there are others.
    async fn failed(&mut self, error: Error) -> Result<(), Stop> {
        if !offline::may_cause(&error) {
            return Err(gone(error));
        }
        let seen = timeout(LOOK_WITHIN, self.see()).await;
        let offline = seen.ok().and_then(Result::ok).unwrap_or_default().offline;
        let positions = self.consumer.positions().clone();
        match offline.is_empty() {
            true => Err(gone(error)),
            false if self.are_needed(&offline, &positions) => Err(needed(&offline).into()),
            false => {
                self.leave_out(&offline, positions);
                Ok(())
            }
        }
    }

    async fn look(&mut self) -> Result<(), Stop> {
        self.look_at = Instant::now() + LOOK_EVERY;
        // Who does not answer now is heard of by the next fetch.
        if let Ok(Ok(seen)) = timeout(LOOK_WITHIN, self.see()).await {
            self.heed(seen)?;
        }
        self.was_at = self.consumer.positions().clone();
        Ok(())
    }

    async fn see(&self) -> Result<Seen, Error> {
        let (client, name) = (self.client, &self.args.topic);
        client.stale(name, Instant::now()).await?;
        let topic = client.topic(name).await?;
        let positions = self.consumer.positions();
        let mut seen = Seen::default();
        let all: Vec<Place> = positions.keys().cloned().collect();
        let all = [
            all,
            self.left_out
                .positions()
                .map(|(place, _)| place.clone())
                .collect(),
        ]
        .concat();
        let told = offline::ask(client, &all, When::End).await?;
        let stuck = positions.iter().filter(|(place, at)| {
            self.was_at.get(*place) == Some(at) && told.offsets.get(*place) > Some(at)
        });
        for (place, &at) in stuck.take(FETCHED_MAX) {
            if let Some(why) = offline::look(client, place, at).await? {
                seen.offline.insert(place.clone(), why);
            }
        }
        for (place, position) in self.left_out.positions().take(FETCHED_MAX) {
            if let Some(&end) = told.offsets.get(place)
                && let Some(at) = self.position_of(place, (position, end)).await?
            {
                seen.back.push((place.clone(), at, end));
            }
        }
        let is_read = |(place, _): &(Place, Offline)| positions.contains_key(place);
        seen.offline
            .extend(told.offline.into_iter().filter(is_read));
        let follows_all = self.args.partitions.is_empty() && !self.args.exit;
        let indexes = topic.partitions.iter().map(|partition| partition.index);
        let places = indexes.map(|index| (name.clone(), index));
        let is_new = |place: &Place| !positions.contains_key(place) && !self.left_out.has(place);
        seen.added = places
            .filter(|place| follows_all && is_new(place))
            .collect();
        Ok(seen)
    }

    /// Where a partition is read on that was left out; none where it can't be yet.
    async fn position_of(
        &self,
        place: &Place,
        (position, end): (Option<i64>, i64),
    ) -> Result<Option<i64>, Error> {
        let partition = std::slice::from_ref(place);
        let offset = async |when| -> Result<Option<i64>, Error> {
            let told = offline::ask(self.client, partition, when).await?;
            Ok(told.offsets.get(place).copied())
        };
        let Some(start) = offset(When::Start).await? else {
            return Ok(None);
        };
        let at = match read_on(position, self.from, (start, end), self.begun_ms) {
            ReadOn::At(at) => Some(at),
            // What has come since is behind it.
            ReadOn::Since(when) => offset(when).await?.map(|at| if at < 0 { end } else { at }),
        };
        let Some(at) = at else { return Ok(None) };
        let found = offline::look(self.client, place, at).await?;
        Ok(found.is_none().then_some(at))
    }

    fn heed(&mut self, seen: Seen) -> Result<(), Stop> {
        let mut positions = self.consumer.positions().clone();
        let now = Instant::now();
        let mut stay = self.suspects.that_stay(&seen.offline, now, LEADERLESS_MAX);
        if self.are_needed(&stay, &positions) {
            // They are waited for as long as for any operation: a broker that is started again needs a while.
            let patience = self.args.cluster.timeout;
            let lost = self.suspects.that_stay(&seen.offline, now, patience);
            if self.are_needed(&lost, &positions) {
                return Err(needed(&lost).into());
            }
            stay.clear();
        }
        if stay.is_empty() && seen.back.is_empty() && seen.added.is_empty() {
            return Ok(());
        }
        for (place, at, end) in seen.back {
            eprintln!(
                "{}-{} can be read again, from offset {at} on",
                place.0, place.1
            );
            self.left_out.take_back(&place);
            if let Some(ends) = &mut self.ends {
                ends.entry(place.clone()).or_insert(end);
            }
            positions.insert(place, at);
        }
        positions.extend(seen.added.into_iter().map(|place| (place, 0)));
        self.leave_out(&stay, positions);
        Ok(())
    }
}

/// Partitions without which nothing goes on.
fn needed(offline: &AllOffline) -> Failure {
    offline::failure(Exit::Failed, "", offline)
}

/// Where each partition is begun with.
async fn place(client: &Client, wanted: &[Place], from: StartAt) -> Result<Told, Stop> {
    let when = match from {
        StartAt::When(when) => when,
        StartAt::Offset(_) | StartAt::BeforeEnd(_) => When::Start,
    };
    let mut placed = offline::offsets(client, wanted, when, LEADERLESS_MAX).await?;
    if when == When::Start && from != StartAt::When(when) {
        for (place, end) in ends(client, &mut placed).await? {
            let Some(at) = placed.offsets.get_mut(&place) else {
                continue;
            };
            *at = match from {
                StartAt::Offset(offset) => has(&place, offset, (*at, end))?,
                StartAt::BeforeEnd(count) => (end - count).max(*at),
                StartAt::When(_) => *at,
            };
        }
    }
    Ok(placed)
}

/// The ends of those that can be read; one that went offline meanwhile is moved to the others.
async fn ends(client: &Client, told: &mut Told) -> Result<Offsets, Error> {
    let there: Vec<Place> = told.offsets.keys().cloned().collect();
    let ends = offline::offsets(client, &there, When::End, LEADERLESS_MAX).await?;
    told.offsets
        .retain(|place, _| ends.offsets.contains_key(place));
    told.offline.extend(ends.offline);
    Ok(ends.offsets)
}

/// Refuses an offset that the partition does not have.
fn has(place: &Place, offset: i64, (start, end): (i64, i64)) -> Result<i64, Failure> {
    if (start..=end).contains(&offset) {
        return Ok(offset);
    }
    let (topic, index) = place;
    let text = format!("{topic}-{index} has offsets {start} to {end}, and no {offset}");
    let hint = "--partitions names those to read; --from beginning and --from end are always there";
    Err(Failure::new(Exit::NotFound, text).hint(hint))
}
