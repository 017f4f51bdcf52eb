//! What a process has used: CPU time of all its threads, and memory at its highest.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Of a running process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// In user mode and in the kernel, threads that have ended included.
    pub(crate) cpu: Duration,
    /// Highest resident memory so far, in KiB.
    pub(crate) peak_kib: u64,
}

impl Usage {
    /// Reads it; the kernel counts CPU time in ticks of 10 ms.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Usage> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        let ticks = cpu_ticks(&read("stat")?).context("the process's stat is not understood")?;
        let peak = read("status")?.lines().find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        });
        Ok(Usage {
            cpu: Duration::from_secs_f64(
                ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            ),
            peak_kib: peak.context("the process has no VmHWM: it has ended")?,
        })
    }

    /// What was used since an earlier look.
    pub(crate) fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            ..self
        }
    }
}

/// utime + stime of proc_pid_stat(5), fields 14 and 15; the name before them may hold anything.
pub(crate) fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}
