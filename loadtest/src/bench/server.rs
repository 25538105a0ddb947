//! A server process: starts it, waits until it is ready, and ends it with its child processes. Called by
//! `cluster`.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::proc;

const START: Duration = Duration::from_secs(30);
/// Where the program is that has another one killed when its parent ends.
const SETPRIV: [&str; 2] = ["/usr/bin/setpriv", "/bin/setpriv"];

/// A running server; ended when dropped.
pub(super) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

/// An address without a listener.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Blocks this thread, which has nothing else to do.
#[expect(clippy::disallowed_methods, reason = "the benchmark has one thread and no runtime")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

impl Server {
    /// Starts a program; what it prints goes to a file in `logs`.
    pub(super) fn start(name: &str, program: &Path, args: &[String], logs: &Path) -> Result<Self> {
        fs::create_dir_all(logs)?;
        let log = logs.join(format!("{name}.log"));
        let out = File::create(&log)?;
        // Ends with this program, even if that is killed; setpriv is part of Debian.
        let mut command = match SETPRIV.iter().find(|path| Path::new(path).exists()) {
            None => Command::new(program),
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]).arg(program);
                command
            }
        };
        let child = command
            .args(args)
            .current_dir(logs)
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until it is ready, as `check` says.
    pub(super) fn until(&mut self, mut check: impl FnMut(&str) -> bool) -> Result<()> {
        let started = Instant::now();
        loop {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            if check(&said) {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || started.elapsed() > START {
                let state =
                    ended.map_or("is not ready after 30 s".to_owned(), |status| format!("ended: {status}"));
                let last: Vec<&str> = said.lines().rev().take(5).collect();
                bail!("{} {state}; its last words: {last:?}", self.name);
            }
            pause(Duration::from_millis(25));
        }
    }

    /// Waits until it says `listening on`.
    pub(super) fn until_listening(&mut self) -> Result<()> {
        self.until(|said| said.contains("listening on"))
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for pid in proc::family(self.child.id()) {
            // An error means that it has ended already.
            i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .and_then(|pid| kill_process(pid, Signal::KILL).ok());
        }
        drop(self.child.wait());
    }
}
