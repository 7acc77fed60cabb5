//! The machines, and on which of them the calling code runs.

use std::net::{IpAddr, Ipv4Addr};

use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};

/// A machine's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Machine(usize);

#[derive(Debug)]
struct State {
    name: String,
    on: bool,
    boot: u64,
    life: u64,
    skew_ms: i64,
    /// The runtime of what runs there now.
    runtime: Option<Id>,
}

static MACHINES: Mutex<Vec<State>> = Mutex::new(Vec::new());

/// Adds a machine, which is on.
pub fn add(name: &str) -> Machine {
    let mut machines = MACHINES.lock();
    machines.push(State {
        name: name.to_owned(),
        on: true,
        boot: 1,
        life: 0,
        skew_ms: 0,
        runtime: None,
    });
    Machine(machines.len() - 1)
}

/// The machine of this name.
pub fn named(name: &str) -> Option<Machine> {
    let machines = MACHINES.lock();
    let at = machines.iter().position(|machine| machine.name == name);
    at.map(Machine)
}

/// A machine's name.
pub fn name(machine: Machine) -> String {
    MACHINES.lock()[machine.0].name.clone()
}

/// From now on the calling runtime is that of the machine, on which another process lives.
pub fn enter(machine: Machine) {
    let state = &mut MACHINES.lock()[machine.0];
    state.runtime = Some(Handle::current().id());
    state.life += 1;
}

/// How many processes have lived there, the present one included.
pub fn life(machine: Machine) -> u64 {
    MACHINES.lock()[machine.0].life
}

/// The machine whose runtime calls.
pub fn current() -> Option<Machine> {
    let id = Handle::try_current().ok()?.id();
    let machines = MACHINES.lock();
    let at = machines
        .iter()
        .position(|machine| machine.runtime == Some(id));
    at.map(Machine)
}

/// The kernel's boot id of the calling machine, as text.
pub fn boot_id() -> String {
    let machine = current().map_or(0, |machine| MACHINES.lock()[machine.0].boot);
    format!("boot-{machine}")
}

/// How far a machine's clock is from the simulation's.
pub fn skew_ms(machine: Machine) -> i64 {
    MACHINES.lock()[machine.0].skew_ms
}

/// Sets a machine's clock.
pub fn set_skew_ms(machine: Machine, skew_ms: i64) {
    MACHINES.lock()[machine.0].skew_ms = skew_ms;
}

/// Whether it is on.
pub(crate) fn is_on(machine: Machine) -> bool {
    MACHINES.lock()[machine.0].on
}

/// In its how-manieth boot it is.
pub(crate) fn boot(machine: Machine) -> u64 {
    MACHINES.lock()[machine.0].boot
}

/// Its power fails.
pub(crate) fn set_off(machine: Machine) {
    MACHINES.lock()[machine.0].on = false;
}

/// It boots.
pub(crate) fn set_on(machine: Machine) {
    let mut machines = MACHINES.lock();
    machines[machine.0].on = true;
    machines[machine.0].boot += 1;
}

impl Machine {
    /// Its number, from 0.
    pub fn number(self) -> usize {
        self.0
    }

    pub(crate) fn ip(self) -> IpAddr {
        let last = u8::try_from(self.0 + 1).unwrap_or(u8::MAX);
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }
}
