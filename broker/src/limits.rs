//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

/// Why a connection is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The broker has as many as it may have.
    #[error("the broker has {0} connections, as many as max.connections allows")]
    Total(usize),
    /// The address has as many as it may have.
    #[error("{0} has {1} connections, as many as max.connections.per.ip allows")]
    Address(IpAddr, usize),
}

/// The bounds that hold for one address: `max.connections`, and `max.connections.per.ip` with its overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub total: usize,
    pub per_address: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
pub struct Connections {
    counts: Mutex<Counts>,
}

/// One connection's place; dropping it makes room for another.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    /// Takes a place for a connection from `address`, if there is one.
    pub fn admit(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Result<Place, Refusal> {
        let mut counts = self.counts.lock();
        if counts.total >= limits.total {
            return Err(Refusal::Total(counts.total));
        }
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if here >= limits.per_address {
            return Err(Refusal::Address(address, here));
        }
        counts.total += 1;
        counts.by_address.insert(address, here + 1);
        Ok(Place {
            connections: self.clone(),
            address,
        })
    }

    pub fn count(&self) -> usize {
        self.counts.lock().total
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.counts.lock();
        counts.total -= 1;
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn an_address_has_no_more_than_its_share_and_a_closed_connection_makes_room() {
        let connections = Arc::new(Connections::default());
        let limits = Limits {
            total: 3,
            per_address: 1,
        };
        let more = Limits {
            total: 3,
            per_address: 2,
        };
        let first = connections.admit(address(1), &limits).unwrap();
        assert_eq!(
            connections.admit(address(1), &limits).unwrap_err(),
            Refusal::Address(address(1), 1)
        );
        let _second = connections.admit(address(2), &more).unwrap();
        let _third = connections.admit(address(2), &more).unwrap();
        assert_eq!(
            connections.admit(address(3), &limits).unwrap_err(),
            Refusal::Total(3)
        );
        drop(first);
        assert!(connections.admit(address(3), &limits).is_ok());
    }
}
