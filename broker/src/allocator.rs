//! How much of what was freed the process keeps.

/// Blocks of this size and more are the system's again as soon as they are freed: a compressed batch that opens to tens
/// of MiB, a request of as much. Smaller ones, and so the usual requests, are kept for the next.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const RETURNED_SIZE_MIN: i32 = 2 * 1024 * 1024;
/// So much may lie free at the end of each heap: a few connections' buffers, which at glibc's 128 KiB would go and come
/// by system calls, for 7 % of the CPU at 5,000 records a second.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const FREE_AT_END_MAX: i32 = 1024 * 1024;

/// Sets those bounds. glibc's first moves up to the largest block that was freed, to 32 MiB: what is freed below it stays
/// with each thread that had it, 60 MiB after four bombs. To be called before the first thread is made.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
pub fn return_large_blocks() {
    // SAFETY: mallopt may race with allocations of other threads only, and there are none yet. It is given constants.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED_SIZE_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, FREE_AT_END_MAX);
    }
}

/// Another allocator has its own rules.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_large_blocks() {}
