//! The process as Linux shows it under `/proc/self`. What can't be read is left out.

use std::fs;

use super::table::{self, Metric};

/// Ticks of a second in `/proc/self/stat`: USER_HZ, fixed at 100 towards processes where Rust's std runs on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The metrics that could be read, with their values.
pub fn read() -> Vec<(&'static Metric, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fds = fs::read_dir("/proc/self/fd").ok();
    let fds_max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let values = [
        (&table::PROCESS_CPU, cpu_seconds(&stat)),
        (&table::PROCESS_START, start_seconds(&stat, &boot)),
        (&table::PROCESS_RESIDENT, kilobytes(&status, "VmRSS:")),
        (&table::PROCESS_VIRTUAL, kilobytes(&status, "VmSize:")),
        (&table::PROCESS_THREADS, number(&status, "Threads:")),
        (&table::PROCESS_FDS, fds.map(|fds| fds.count() as f64)),
        (&table::PROCESS_FDS_MAX, fds_max.map(|max| max as f64)),
    ];
    values
        .into_iter()
        .filter_map(|(metric, value)| Some((metric, value?)))
        .collect()
}

/// A field of `/proc/self/stat` by its number in proc(5). The second, the name, may hold blanks and brackets.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

fn start_seconds(stat: &str, boot: &str) -> Option<f64> {
    Some(number(boot, "btime")? + field(stat, 22)? / TICKS_PER_SECOND)
}

fn kilobytes(status: &str, key: &str) -> Option<f64> {
    Some(number(status, key)? * 1024.0)
}

/// The number behind a key at a line's start.
fn number(text: &str, key: &str) -> Option<f64> {
    let mut rests = text.lines().filter_map(|line| line.strip_prefix(key));
    rests.next()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_shifts_no_field() {
        let rest = (3..=22).map(|n| n.to_string()).collect::<Vec<_>>();
        let stat = format!("1 (a) b (c) {}", rest.join(" "));
        assert_eq!(cpu_seconds(&stat), Some(0.29));
        assert_eq!(start_seconds(&stat, "cpu 1 2\nbtime 1000\n"), Some(1000.22));
        assert_eq!(
            kilobytes("VmSize:\t 8 kB\nVmRSS:\t 4 kB\n", "VmRSS:"),
            Some(4096.0)
        );
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(number("Threads:\n", "Threads:"), None);
    }

    #[test]
    fn this_process_shows_all_of_it() {
        assert_eq!(read().len(), 7);
        assert!(read().iter().all(|(_, value)| *value >= 0.0));
    }
}
