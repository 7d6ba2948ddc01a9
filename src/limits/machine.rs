//! What the machine or the container gives: descriptors and memory, and the defaults that follow.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What one connection may cost in memory, in bytes: the divisor of the default.
pub const CONNECTION_BYTES: u64 = 32 * 1024;

/// Descriptors that are kept for files, logs, admin, discovery and the pipes of large frames.
pub const DESCRIPTORS_KEPT: u64 = 512;

/// The default of `max_connections` where nothing else is less.
pub const CONNECTIONS_DEFAULT: usize = 10_000;

/// Assumed where the system does not say how much memory there is, in bytes.
const MEMORY_ASSUMED: u64 = 1 << 30;

/// Why limits cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The descriptors do not suffice.
    #[error(
        "max_connections {asked} needs {needed} open files (2 for each connection, {ports} ports and 512 \
         more), but the limit is {descriptors}: raise the limit (ulimit -n, LimitNOFILE=) or set \
         max_connections to {fits} or less"
    )]
    Descriptors {
        /// The number that was configured.
        asked: usize,
        /// The descriptors that it takes.
        needed: u64,
        /// Ports that the listeners bind.
        ports: usize,
        /// The descriptors that there are.
        descriptors: u64,
        /// The largest number that fits.
        fits: usize,
    },
    /// The memory does not suffice.
    #[error(
        "max_connections {asked} may take {needed} bytes (32 KiB for each connection), but half of the \
         memory is {half}: give it more memory or set max_connections to {fits} or less"
    )]
    Memory {
        /// The number that was configured.
        asked: usize,
        /// The bytes that it may take.
        needed: u64,
        /// Half of the memory in bytes.
        half: u64,
        /// The largest number that fits.
        fits: usize,
    },
    /// Not one connection fits.
    #[error("{descriptors} open files and {memory_bytes} bytes of memory leave no room for a connection")]
    NoRoom {
        /// The descriptors that there are.
        descriptors: u64,
        /// The memory in bytes.
        memory_bytes: u64,
    },
}

/// What there is to share out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// How many files the process may have open.
    pub descriptors: u64,
    /// The memory of the cgroup or the machine, whichever is less, in bytes.
    pub memory_bytes: u64,
}

impl Machine {
    /// Raises the descriptor limit of the process and looks at what there is.
    pub fn detect() -> Self {
        Self { descriptors: raise_descriptor_limit(), memory_bytes: memory_bytes(Path::new("/")) }
    }

    /// The number of client connections: what was asked for, or the default for listeners that bind
    /// `ports` ports.
    ///
    /// # Errors
    /// [`Error::Descriptors`] or [`Error::Memory`] for a number that does not fit, [`Error::NoRoom`]
    /// where not one connection fits.
    pub fn max_connections(&self, asked: Option<usize>, ports: usize) -> Result<usize, Error> {
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let by_descriptors = size(self.descriptors.saturating_sub(DESCRIPTORS_KEPT + ports as u64) / 2);
        let by_memory = size(self.memory_bytes / 2 / CONNECTION_BYTES);
        let fits = by_descriptors.min(by_memory);
        match asked {
            None if fits == 0 => {
                Err(Error::NoRoom { descriptors: self.descriptors, memory_bytes: self.memory_bytes })
            }
            None => Ok(fits.min(CONNECTIONS_DEFAULT)),
            Some(asked) if asked > by_descriptors => Err(Error::Descriptors {
                asked,
                needed: (asked as u64).saturating_mul(2).saturating_add(DESCRIPTORS_KEPT + ports as u64),
                ports,
                descriptors: self.descriptors,
                fits,
            }),
            Some(asked) if asked > by_memory => Err(Error::Memory {
                asked,
                needed: (asked as u64).saturating_mul(CONNECTION_BYTES),
                half: self.memory_bytes / 2,
                fits,
            }),
            Some(asked) => Ok(asked),
        }
    }

    /// The default budget of held bytes: a quarter of the memory.
    pub fn held_bytes(&self) -> u64 {
        self.memory_bytes / 4
    }
}

/// Keeps the process from writing core files: they would hold keys and passwords. Where the system refuses,
/// the old limit holds.
pub fn refuse_core_files() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Lowering a limit is refused to nobody.
    let _ = setrlimit(Resource::Core, none);
}

/// Raises the soft limit of open files to the hard one and returns what holds then. Where the system
/// refuses, the old limit holds.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    if limit.current != limit.maximum
        && setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_ok()
    {
        return limit.maximum.unwrap_or(u64::MAX);
    }
    soft
}

/// The least of the machine's memory and every memory limit of the cgroups around the process, in
/// bytes. `root` is `/` but in tests.
pub fn memory_bytes(root: &Path) -> u64 {
    let machine = machine_memory(root).unwrap_or(MEMORY_ASSUMED);
    cgroup_memory(root).map_or(machine, |limit| limit.min(machine))
}

fn machine_memory(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn cgroup_memory(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    text.lines()
        .filter_map(|line| {
            // hierarchy-ID:controller-list:cgroup-path, as cgroups(7) has it.
            let mut parts = line.splitn(3, ':');
            match (parts.next()?, parts.next()?, parts.next()?) {
                ("0", "", path) => least_limit(&root.join("sys/fs/cgroup"), path, "memory.max"),
                (_, controllers, path) if controllers.split(',').any(|name| name == "memory") => {
                    least_limit(&root.join("sys/fs/cgroup/memory"), path, "memory.limit_in_bytes")
                }
                _ => None,
            }
        })
        .min()
}

/// The least limit of a cgroup and those above it. Where the path does not exist under the mount, as
/// in a container that sees its own cgroup as the root, only the root is found.
fn least_limit(mount: &Path, path: &str, file: &str) -> Option<u64> {
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors()
        .filter_map(|group| fs::read_to_string(mount.join(group).join(file)).ok()?.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_default_is_the_least_of_three() {
        let of = |descriptors, memory_bytes| {
            Machine { descriptors, memory_bytes }.max_connections(None, 100).unwrap()
        };
        assert_eq!(of(1_048_576, 64 * GIB), 10_000);
        assert_eq!(of(1_024, 64 * GIB), (1_024 - 512 - 100) / 2);
        assert_eq!(of(1_048_576, 64 << 20), 1_024);
        assert!(matches!(
            Machine { descriptors: 256, memory_bytes: GIB }.max_connections(None, 0),
            Err(Error::NoRoom { .. })
        ));
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused_with_numbers() {
        let machine = Machine { descriptors: 1_024, memory_bytes: 64 << 20 };
        assert_eq!(machine.max_connections(Some(206), 100).unwrap(), 206);
        let text = machine.max_connections(Some(207), 100).unwrap_err().to_string();
        for number in ["207", "1026", "1024", "206"] {
            assert!(text.contains(number), "{number} in {text}");
        }
        let machine = Machine { descriptors: 1 << 20, ..machine };
        let text = machine.max_connections(Some(1_025), 100).unwrap_err().to_string();
        for number in ["1025", "33587200", "33554432", "1024"] {
            assert!(text.contains(number), "{number} in {text}");
        }
        assert!(machine.max_connections(Some(usize::MAX), 100).is_err());
    }

    /// A file tree of its own that is removed at the end.
    struct Tree(std::path::PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("gatehouse-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");

    #[test]
    fn a_limit_of_any_cgroup_above_counts() {
        let tree = Tree::new(
            "v2",
            &[
                MEMINFO,
                ("proc/self/cgroup", "0::/system.slice/gatehouse.service\n"),
                ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
                ("sys/fs/cgroup/system.slice/gatehouse.service/memory.max", "max\n"),
            ],
        );
        assert_eq!(memory_bytes(&tree.0), GIB);
    }

    #[test]
    fn a_container_finds_its_limit_at_the_root() {
        let tree = Tree::new(
            "container",
            &[
                MEMINFO,
                ("proc/self/cgroup", "0::/../../kubepods/pod1/c1\n"),
                ("sys/fs/cgroup/memory.max", "536870912\n"),
            ],
        );
        assert_eq!(memory_bytes(&tree.0), GIB / 2);
    }

    #[test]
    fn version_1_is_read_and_its_unlimited_number_is_none() {
        let tree = Tree::new(
            "v1",
            &[
                MEMINFO,
                ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n0::/\n"),
                ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "268435456\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        assert_eq!(memory_bytes(&tree.0), GIB / 4);
        fs::write(
            tree.0.join("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes"),
            "9223372036854771712",
        )
        .unwrap();
        assert_eq!(memory_bytes(&tree.0), 8 * GIB);
    }

    #[test]
    fn without_any_of_it_one_gibibyte_is_assumed() {
        let tree = Tree::new("none", &[("x", "")]);
        assert_eq!(memory_bytes(&tree.0), GIB);
    }

    #[test]
    fn the_descriptor_limit_is_raised_to_the_hard_one() {
        let raised = raise_descriptor_limit();
        assert_eq!(Some(raised), getrlimit(Resource::Nofile).maximum.or(Some(u64::MAX)));
        assert_eq!(raise_descriptor_limit(), raised);
    }
}
