//! What a broker reaches the world by, with another world behind it that one seed decides.
//!
//! | module | stands for | modelled | not modelled |
//! | --- | --- | --- | --- |
//! | [`network`] | TCP | delays, cuts in one or both directions, refusal, resets, closes, the end of an unacknowledged connection, windows | lost bytes that come again out of order, bandwidth |
//! | [`disk`] | the page cache and the disk | what a power loss leaves of files and folders, and of the metadata's store | reads that fail, renames and removals that a power loss undoes, torn syncs |
//! | [`clock`] | the time of day | skew and jumps of each machine | drift within a millisecond |
//! | [`machine`] | computers | which is on, and in its how-manieth boot | |
//! | [`entropy`] | the kernel's random bytes | all of them come from the seed | |
//!
//! All state is the process's: one process runs one seed, once. [`trace`] folds everything that crosses the network
//! into one number, which two runs of a seed share.

/// Runs the machines' processes, each on a runtime of its own that can be dropped.
pub use turmoil;

pub mod clock;
pub mod disk;
pub mod entropy;
pub mod machine;
pub mod network;
pub mod rule;
pub mod trace;
pub mod witness;
