//! Cuts, and machines that lose their power.

use super::*;

impl Net {
    pub(in crate::network) fn cut(&mut self, from: Machine, to: Machine) {
        if self.cuts.insert((from, to)) {
            self.part(from, to);
        }
    }

    pub(super) fn part(&mut self, one: Machine, other: Machine) {
        let pair = (one.min(other), one.max(other));
        self.apart.entry(pair).or_insert_with(clock::elapsed_ms);
    }

    pub(super) fn join(&mut self, one: Machine, other: Machine) {
        let pair = (one.min(other), one.max(other));
        let hears = |from, to| !self.cuts.contains(&(from, to)) && machine::is_on(to);
        if hears(one, other) && hears(other, one) {
            self.apart.remove(&pair);
        }
    }

    pub(in crate::network) fn heal(&mut self, from: Machine, to: Machine) {
        if !self.cuts.remove(&(from, to)) {
            return;
        }
        self.join(from, to);
        self.send_again(from, to);
    }

    /// What was held up comes, in its order.
    pub(super) fn send_again(&mut self, from: Machine, to: Machine) {
        let held = self.held.remove(&(from, to)).unwrap_or_default();
        let at = clock::elapsed_ms() + self.draw(1, SENT_AGAIN_MS);
        for event in held {
            let number = self.number();
            let sender = self.end(event.conn, 1 - event.to);
            if let Some(sender) = sender {
                sender.arrives_ms = sender.arrives_ms.max(at);
                let at = sender.arrives_ms;
                self.due.insert((at, number), event);
            }
        }
    }

    /// Ends that wait with a bound break where that is over.
    pub(super) fn break_apart(&mut self, now_ms: u64) {
        let long = |since: &u64| now_ms.saturating_sub(*since) >= UNACKNOWLEDGED_MAX_MS;
        let pairs: Vec<_> = self
            .apart
            .iter()
            .filter(|(_, since)| long(since))
            .map(|(pair, _)| *pair)
            .collect();
        if pairs.is_empty() {
            return;
        }
        for conn in self.conns.values_mut() {
            let (one, other) = (conn.ends[0].machine, conn.ends[1].machine);
            if !pairs.contains(&(one.min(other), one.max(other))) {
                continue;
            }
            let ends = conn.ends.iter_mut();
            for end in ends.filter(|end| end.bounded && end.established && end.error.is_none()) {
                self.woken.extend(end.breaks(io::ErrorKind::TimedOut));
            }
        }
    }

    pub(in crate::network) fn powered_off(&mut self, machine: Machine) {
        let others: BTreeSet<Machine> = self.machines().filter(|other| *other != machine).collect();
        for other in others {
            self.part(machine, other);
        }
    }

    pub(super) fn machines(&self) -> impl Iterator<Item = Machine> {
        let ends = self.conns.values().flat_map(|conn| &conn.ends);
        ends.map(|end| end.machine)
    }

    /// Machines that were connected find sooner or later that this one knows nothing of it; and who dials is heard.
    pub(in crate::network) fn powered_on(&mut self, machine: Machine) {
        let apart = self.apart.keys().copied();
        let pairs: Vec<_> = apart
            .filter(|pair| pair.0 == machine || pair.1 == machine)
            .collect();
        for (one, other) in pairs {
            self.join(one, other);
        }
        let held = self.held.keys().copied();
        let links: Vec<_> = held
            .filter(|link| link.1 == machine && !self.cuts.contains(link))
            .collect();
        for (from, to) in links {
            self.send_again(from, to);
        }
        let mut unknown = Vec::new();
        for (number, conn) in &self.conns {
            for (at, end) in conn.ends.iter().enumerate() {
                if end.machine == machine && end.established && !end.lives() {
                    unknown.push((*number, 1 - at));
                }
            }
        }
        for (conn, to) in unknown {
            let at = clock::elapsed_ms() + self.draw(1, KEEPALIVE_MS);
            let number = self.number();
            let what = What::Reset;
            self.due.insert((at, number), Event { conn, to, what });
        }
    }
}
