//! The kernel's random bytes, which come from the seed. Hash maps, `rand` and UUIDs all begin with these.

use mad_turmoil::rand::set_rng;
use mad_turmoil::rand::try_rng;
use mad_turmoil::time::SimClocksGuard;
use rand_of_entropy::SeedableRng;
use rand_of_entropy::rngs::StdRng;

/// Keeps `Instant` and `SystemTime` on the simulation's time.
pub struct Clocks {
    _guard: SimClocksGuard,
}

/// From now on everything random in this process comes from `seed`; called once, before a thread has drawn any.
pub fn seed(seed: u64) -> Clocks {
    if try_rng().is_none() {
        set_rng(StdRng::seed_from_u64(seed));
    }
    Clocks {
        _guard: SimClocksGuard::init(),
    }
}
