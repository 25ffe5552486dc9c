//! What the system knows of this process, read from `/proc` when metrics are asked for. Elsewhere than on Linux these
//! metrics are absent.

use std::{fs, sync::OnceLock};

use super::page::{Kind, Page};

/// Clock ticks a second in `/proc`: fixed for user space on every Linux that Rust runs on.
const TICKS: f64 = 100.0;
/// Places in `/proc/self/stat`, counted behind the program's name (proc(5)).
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const START_TIME: usize = 19;

/// Writes what is known of this process.
pub(super) fn write(page: &mut Page) {
    let (open, limit) = (open_descriptors(), descriptor_limit());
    let mut gauge = |name, help, value: Option<u64>| {
        if let Some(value) = value {
            page.family(name, Kind::Gauge, help).value(&[], value);
        }
    };
    gauge(
        "sluicegate_process_open_fds",
        "Open file descriptors.",
        open,
    );
    gauge(
        "sluicegate_process_max_fds",
        "File descriptors that the process may open.",
        limit,
    );
    gauge(
        "sluicegate_process_resident_memory_bytes",
        "Resident memory.",
        resident(),
    );
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything.
    let fields: Vec<f64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split(' '))
        .into_iter()
        .flatten()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    if let (Some(user), Some(system)) = (fields.get(USER_TIME), fields.get(SYSTEM_TIME)) {
        let help = "CPU time spent, of the user and the system.";
        page.family("sluicegate_process_cpu_seconds_total", Kind::Counter, help)
            .real(&[], (user + system) / TICKS);
    }
    if let (Some(start), Some(boot)) = (fields.get(START_TIME), boot_time()) {
        let help = "When the process started, in seconds since the Unix epoch.";
        page.family("sluicegate_process_start_time_seconds", Kind::Gauge, help)
            .real(&[], boot + start / TICKS);
    }
}

fn open_descriptors() -> Option<u64> {
    // The directory is read through a descriptor of its own.
    let entries = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(entries.saturating_sub(1))
}

fn descriptor_limit() -> Option<u64> {
    rlimit::getrlimit(rlimit::Resource::NOFILE)
        .ok()
        .map(|(soft, _)| soft)
}

/// Resident memory of this process.
pub fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn boot_time() -> Option<f64> {
    static BOOT: OnceLock<Option<f64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
        line.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_itself() {
        let mut page = Page::default();
        write(&mut page);
        let text = page.into_text();
        let value = |name: &str| -> f64 {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap().parse().unwrap()
        };
        assert!(value("sluicegate_process_open_fds") >= 3.0);
        assert!(value("sluicegate_process_resident_memory_bytes") > 1e6);
        assert!(value("sluicegate_process_cpu_seconds_total") < 3600.0);
        let start = value("sluicegate_process_start_time_seconds");
        let now = crate::types::clock::Wall::now().seconds() as f64;
        assert!((0.0..3600.0).contains(&(now + 2.0 - start)), "{start}");
    }
}
