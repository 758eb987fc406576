//! What the operating system says a process has cost: CPU time and resident memory.

use anyhow::{Context as _, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::wait::read;

/// CPU time that processes have taken since they began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// From the scheduler, exact to a tick.
    nanoseconds: u64,
    /// From the clock tick's samples, in units of 10 ms.
    user_ticks: u64,
    system_ticks: u64,
}

/// CPU time between two readings, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Usage {
    /// The sum over all threads of these processes.
    pub(crate) fn of(pids: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            sum.nanoseconds += scheduled_nanoseconds(*pid)?;
            let (user, system) = ticks(*pid)?;
            sum.user_ticks += user;
            sum.system_ticks += system;
        }
        Ok(sum)
    }

    /// The total comes from the scheduler, whose clock is finer; the ticks only divide it.
    pub(crate) fn since(self, earlier: Self) -> Spent {
        let total = self.nanoseconds.saturating_sub(earlier.nanoseconds) as f64 / 1e3;
        let user = self.user_ticks.saturating_sub(earlier.user_ticks) as f64;
        let system = self.system_ticks.saturating_sub(earlier.system_ticks) as f64;
        let share = if user + system > 0.0 { user / (user + system) } else { 0.0 };
        Spent { user: total * share, system: total * (1.0 - share) }
    }
}

impl Spent {
    /// User and system time together.
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }

    /// The time for each of so many requests.
    pub(crate) fn divided_by(self, requests: u64) -> Self {
        let requests = requests.max(1) as f64;
        Self { user: self.user / requests, system: self.system / requests }
    }
}

/// Time on a CPU of all living threads: the first number of `/proc/PID/task/TID/schedstat`.
fn scheduled_nanoseconds(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/task");
    let mut sum = 0;
    for thread in std::fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
        let path = thread?.path().join("schedstat");
        // A thread that ends between the listing and the reading is no error.
        let Ok(line) = std::fs::read_to_string(&path) else { continue };
        let first = line.split_ascii_whitespace().next().context("an empty schedstat")?;
        sum += first.parse::<u64>().with_context(|| format!("{}: {line}", path.display()))?;
    }
    Ok(sum)
}

/// The CPU time of the least busy of the threads with such a name, divided by that of the busiest one.
pub(crate) fn evenness(pid: u32, name: &str) -> Result<Option<f64>> {
    let folder = format!("/proc/{pid}/task");
    let mut times = vec![];
    for thread in std::fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
        let path = thread?.path();
        if !std::fs::read_to_string(path.join("comm"))?.starts_with(name) {
            continue;
        }
        let line = std::fs::read_to_string(path.join("schedstat"))?;
        let time = line.split_ascii_whitespace().next().context("an empty schedstat")?;
        times.push(time.parse::<f64>()?);
    }
    let least = times.iter().copied().reduce(f64::min);
    let most = times.iter().copied().reduce(f64::max).filter(|most| *most > 0.0);
    Ok(least.zip(most).map(|(least, most)| least / most))
}

/// User and system time of a process: fields 14 and 15 of `/proc/PID/stat` (proc(5)).
fn ticks(pid: u32) -> Result<(u64, u64)> {
    let line = read(&format!("/proc/{pid}/stat"))?;
    // The second field, the name, may itself hold spaces; the third follows the last bracket.
    let (_, fields) = line.rsplit_once(") ").context("an unknown format of /proc/PID/stat")?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let user = times.next().context("no user time")??;
    let system = times.next().context("no system time")??;
    Ok((user, system))
}

/// CPU time in microseconds that all cores have spent working, since the machine began: the first
/// line of `/proc/stat` without its idle times (proc(5)).
pub(crate) fn machine_micros() -> Result<f64> {
    let stat = read("/proc/stat")?;
    let line = stat.lines().next().context("an empty /proc/stat")?;
    let ticks = line.split_ascii_whitespace().skip(1).take(8).map(str::parse::<u64>);
    let ticks = ticks.collect::<Result<Vec<u64>, _>>()?;
    let &[user, nice, system, _idle, _waiting, interrupts, soft, steal] = ticks.as_slice() else {
        bail!("an unknown format of /proc/stat: {line}");
    };
    let busy = user + nice + system + interrupts + soft + steal;
    Ok(busy as f64 * 1e6 / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident memory of a process in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>()?;
    Ok(kib * 1024)
}

/// Which core the proxies run on, and which the generator and the nodes.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    all: CpuSet,
    proxy: CpuSet,
    rest: CpuSet,
}

impl Cores {
    /// With `pin`, the first core that we may use is the proxies' and the others are for the rest.
    pub(crate) fn divide(pin: bool) -> Result<Self> {
        let all = sched_getaffinity(None)?;
        let mut proxy = CpuSet::new();
        let mut rest = all;
        let first = (0..CpuSet::MAX_CPU).find(|core| all.is_set(*core));
        if let Some(core) = first.filter(|_| pin && all.count() > 1) {
            proxy.set(core);
            rest.unset(core);
        } else {
            proxy = all;
        }
        Ok(Self { all, proxy, rest })
    }

    /// Whether the proxies have a core of their own.
    pub(crate) fn divided(&self) -> bool {
        self.proxy != self.rest
    }

    /// How many cores there are for everything.
    pub(crate) fn count(&self) -> u32 {
        self.all.count()
    }

    /// Binds this thread, and what it starts from now on, to the generator's and nodes' cores.
    pub(crate) fn keep_off_proxies(&self) -> Result<()> {
        Ok(sched_setaffinity(None, &self.rest)?)
    }

    /// Runs `start` so that a process started in it has all its threads on the proxies' core.
    pub(crate) fn on_proxies<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        sched_setaffinity(None, &self.proxy)?;
        let started = start();
        self.keep_off_proxies()?;
        started
    }
}
