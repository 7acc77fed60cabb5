//! What arrives, when its time has come.

use super::*;

impl Net {
    /// Delivers what is due, and returns who is to be woken.
    pub(in crate::network) fn tick(&mut self) -> Vec<Waker> {
        let now_ms = clock::elapsed_ms();
        while let Some(entry) = self.due.first_entry() {
            if entry.key().0 > now_ms {
                break;
            }
            let event = entry.remove();
            self.arrive(event);
        }
        self.break_apart(now_ms);
        std::mem::take(&mut self.woken)
    }

    pub(super) fn arrive(&mut self, event: Event) {
        let Event { conn, to, .. } = event;
        let Some(link) = self
            .conns
            .get(&conn)
            .map(|conn| (conn.ends[1 - to].machine, conn.ends[to].machine))
        else {
            return;
        };
        let syn = matches!(event.what, What::Syn);
        let off = !machine::is_on(link.1);
        if self.cuts.contains(&link) || (syn && off) {
            self.held.entry(link).or_default().push_back(event);
        } else if !off {
            self.deliver(event);
            self.forget(conn);
        }
    }

    pub(super) fn deliver(&mut self, event: Event) {
        let Event { conn, to, what } = event;
        if matches!(what, What::Syn) {
            return self.arrive_dial(conn);
        }
        let Some(end) = self.end(conn, to) else {
            return;
        };
        let known = end.lives() && !end.dropped && end.error.is_none();
        if !known {
            // An end that nobody has answers with a reset.
            if matches!(what, What::Data(_)) || matches!(what, What::SynAck) {
                self.send(conn, to, What::Reset);
            }
            return;
        }
        let woken = match what {
            What::Data(bytes) => {
                end.received.extend_from_slice(&bytes);
                std::mem::take(&mut end.reading)
            }
            What::SynAck => {
                end.established = true;
                end.wake()
            }
            What::Fin => {
                end.ended = true;
                std::mem::take(&mut end.reading)
            }
            What::Refusal => end.breaks(io::ErrorKind::ConnectionRefused),
            What::Reset | What::Syn => end.breaks(io::ErrorKind::ConnectionReset),
        };
        self.woken.extend(woken);
    }

    pub(super) fn arrive_dial(&mut self, number: u64) {
        let Some(conn) = self.conns.get_mut(&number) else {
            return;
        };
        let key = (conn.ends[1].machine, conn.port);
        // It may have booted since.
        conn.ends[1].boot = machine::boot(key.0);
        let backlog = self.listeners.get_mut(&key);
        match backlog.filter(|backlog| backlog.waiting.len() < BACKLOG_MAX) {
            Some(backlog) => {
                backlog.waiting.push_back(number);
                self.woken.append(&mut backlog.accepting);
                conn.ends[1].established = true;
                self.send(number, 1, What::SynAck);
            }
            None => {
                conn.ends[1].dropped = true;
                self.send(number, 1, What::Refusal);
            }
        }
    }
}
