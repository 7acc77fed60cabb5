//! Rules of the protocol that the simulation can break, to see whether its checks notice.

/// Whether that rule, one of `milena_simulation::rule::Broken`, is broken: never but in a simulation that says so.
macro_rules! is_broken {
    ($rule:ident) => {{
        #[cfg(feature = "simulation")]
        let broken = milena_simulation::rule::is_broken(milena_simulation::rule::Broken::$rule);
        #[cfg(not(feature = "simulation"))]
        let broken = false;
        broken
    }};
}
pub(crate) use is_broken;
