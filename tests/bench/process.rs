//! A process as the kernel accounts for it.

use std::time::Duration;

/// Unit of the times in `/proc/<pid>/stat`: the kernel's USER_HZ, which is 100 on all that we build for.
const TICK: Duration = Duration::from_millis(10);

/// A process that runs.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Processor time so far, of all its threads, those that ended too.
    pub(crate) fn cpu(self) -> Duration {
        let text = self.read("stat");
        // The name in parentheses may hold anything; `utime` and `stime` are the 14th and 15th field.
        let (_, fields) = text.rsplit_once(')').expect("/proc/<pid>/stat has a name");
        let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().expect("a number"));
        TICK * ticks.sum::<u32>()
    }

    /// The most memory that it ever had resident, in MiB.
    pub(crate) fn memory_peak(self) -> f64 {
        self.mebibytes("VmHWM:")
    }

    /// The memory that it has resident, in MiB.
    pub(crate) fn memory(self) -> f64 {
        self.mebibytes("VmRSS:")
    }

    fn mebibytes(self, field: &str) -> f64 {
        let text = self.read("status");
        let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells of memory");
        let kibibytes = line.trim().trim_end_matches(" kB").parse::<f64>().expect("memory is in kB");
        kibibytes / 1024.0
    }

    fn read(self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.0);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}: has the agent ended?"))
    }
}
