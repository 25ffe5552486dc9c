//! Limits of control groups, of both versions, read from files of the kernel's (cgroups(7)).

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::types::memory::Amount;

/// Where the kernel tells of all this.
#[derive(Debug)]
pub(super) struct Places<'a> {
    /// The process, `/proc/self`.
    pub(super) process: &'a Path,
    /// The tree of control groups, `/sys/fs/cgroup`.
    pub(super) groups: &'a Path,
    /// The machine's memory, `/proc/meminfo`.
    pub(super) machine: &'a Path,
}

/// The files of one version.
struct Version {
    /// The tree's place among the control groups.
    tree: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// The lines of `memory.stat` with the file cache of a group and all below it.
    cache: [&'static str; 2],
}

const SECOND: Version = Version {
    tree: "",
    limit: "memory.max",
    usage: "memory.current",
    cache: ["inactive_file", "active_file"],
};

const FIRST: Version = Version {
    tree: "memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cache: ["total_inactive_file", "total_active_file"],
};

/// The smallest limit of all groups that the process is in, and what is in use in the group whose limit it is. What isn't
/// below the machine's memory is no limit.
pub(super) fn amount(places: &Places<'_>) -> Option<Amount> {
    let machine = machine(places.machine)?;
    let said = fs::read_to_string(places.process.join("cgroup")).ok()?;
    let groups = said.lines().filter_map(|line| group(line, places.groups));
    let limited = groups.flat_map(|(version, tree, group)| {
        let limit = move |at: PathBuf| Some((limit(version, &at)?, version, at));
        ancestors(&tree, &group).into_iter().filter_map(limit)
    });
    let (limit, version, at) = limited.min_by_key(|(limit, ..)| *limit)?;
    let used = used(version, &at).filter(|_| limit < machine)?;
    Some(Amount { used, limit })
}

/// Whose memory a line of `/proc/self/cgroup` is about (`hierarchy:controllers:path`), if it is about memory.
fn group(line: &str, groups: &Path) -> Option<(&'static Version, PathBuf, PathBuf)> {
    let mut parts = line.splitn(3, ':');
    let (hierarchy, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let version = if hierarchy == "0" && controllers.is_empty() {
        &SECOND
    } else if controllers.split(',').any(|it| it == "memory") {
        &FIRST
    } else {
        return None;
    };
    let tree = groups.join(version.tree);
    let group = tree.join(path.trim_start_matches('/'));
    Some((version, tree, group))
}

/// A group and those around it. In a container the path may be the host's, and only the tree's root be there.
fn ancestors(tree: &Path, group: &Path) -> Vec<PathBuf> {
    let inside = group.ancestors().take_while(|at| at.starts_with(tree));
    inside.map(Path::to_owned).collect()
}

/// A group's own limit; `max`, a root without the file, and paths that aren't there have none.
fn limit(version: &Version, group: &Path) -> Option<u64> {
    number(&group.join(version.limit))
}

/// What counts against a group's limit and can't be given up without harm.
fn used(version: &Version, group: &Path) -> Option<u64> {
    let usage = number(&group.join(version.usage))?;
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cache = stat.lines().filter_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        let is_cache = version.cache.contains(&name);
        bytes.parse::<u64>().ok().filter(|_| is_cache)
    });
    Some(usage.saturating_sub(cache.sum()))
}

fn machine(meminfo: &Path) -> Option<u64> {
    let text = fs::read_to_string(meminfo).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes: u64 = line?.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// What the kernel of a machine with 1024 MiB would tell a process with this `/proc/self/cgroup`.
    fn told(name: &str, process: &str, files: &[(&str, String)]) -> Option<(u64, u64)> {
        let own = format!("sluicegate-cgroup-{}-{name}", std::process::id());
        let root = std::env::temp_dir().join(own);
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("self/cgroup", process);
        write("meminfo", "MemFree: 1 kB\nMemTotal:        1048576 kB\n");
        for (path, text) in files {
            write(&format!("groups/{path}"), text);
        }
        let amount = amount(&Places {
            process: &root.join("self"),
            groups: &root.join("groups"),
            machine: &root.join("meminfo"),
        });
        fs::remove_dir_all(&root).unwrap();
        amount.map(|it| (it.used / MIB, it.limit / MIB))
    }

    fn bytes(mib: u64) -> String {
        format!("{}\n", mib * MIB)
    }

    fn stat(inactive: u64, active: u64, prefix: &str) -> String {
        let (inactive, active) = (inactive * MIB, active * MIB);
        format!(
            "anon 5\nfile 7\n{prefix}inactive_file {inactive}\n{prefix}active_file {active}\nslab 9\n"
        )
    }

    #[test]
    fn the_smallest_limit_on_the_way_to_the_root_counts_and_what_its_group_uses() {
        let files = [
            ("a/b/memory.max", "max\n".to_owned()),
            ("a/b/memory.current", bytes(50)),
            ("a/memory.max", bytes(300)),
            ("a/memory.current", bytes(200)),
            ("a/memory.stat", stat(30, 10, "")),
            ("memory.max", bytes(400)),
            ("memory.current", bytes(390)),
        ];
        assert_eq!(told("smallest", "0::/a/b\n", &files), Some((160, 300)));
    }

    #[test]
    fn in_a_container_the_root_is_its_own_group_whatever_the_path_says() {
        let files = [
            ("memory.max", bytes(512)),
            ("memory.current", bytes(100)),
            ("memory.stat", stat(200, 0, "")),
        ];
        assert_eq!(told("own", "0::/\n", &files), Some((0, 512)));
        assert_eq!(told("hosts", "0::/kubepods/x\n", &files), Some((0, 512)));
        assert_eq!(told("above", "0::/../..\n", &files), Some((0, 512)));
    }

    #[test]
    fn the_first_version_has_other_names() {
        let process = "5:cpu,cpuacct:/x\n4:hugetlb,memory:/x/y:z\n0::/x\n";
        let group = |limit: &str| {
            [
                ("memory/x/y:z/memory.limit_in_bytes", limit.to_owned()),
                ("memory/x/y:z/memory.usage_in_bytes", bytes(90)),
                ("memory/x/y:z/memory.stat", stat(20, 10, "total_")),
            ]
        };
        let limit = (200 * MIB).to_string();
        assert_eq!(told("first", process, &group(&limit)), Some((60, 200)));
        let none = "9223372036854771712\n";
        assert_eq!(told("first-none", process, &group(none)), None);
    }

    #[test]
    fn without_a_limit_below_the_machines_memory_there_is_none() {
        let limited = |mib| [("memory.max", bytes(mib)), ("memory.current", bytes(10))];
        assert_eq!(told("below", "0::/\n", &limited(1023)), Some((10, 1023)));
        assert_eq!(told("machine", "0::/\n", &limited(1024)), None);
        assert_eq!(told("no-files", "0::/\n", &[]), None);
        assert_eq!(told("no-groups", "", &limited(10)), None);
    }
}
