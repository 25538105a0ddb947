//! One process of a swarm: reads a plan and then commands from standard input, one JSON value a line, and writes answers
//! to standard output. Between commands it serves its connections. Started by `workers.rs`; the work is `Swarm`'s.

use std::io::{BufRead as _, Write as _};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::swarm::{Counts, Plan, Progress, Swarm};

/// What the coordinator asks of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Command {
    /// Connects members until this many of them have joined.
    Connect { members: usize },
    /// Serves its connections for a while.
    Idle { seconds: f64 },
    /// Sends at a rate.
    Send { rate: f64, seconds: f64 },
    /// Counts what others send, until `Sent`.
    Receive,
    /// How many messages each room was sent.
    Sent { rooms: Vec<u32> },
}

/// What a process answers.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    /// It counts from now on.
    Receiving,
    /// While a command runs, about once a second.
    Progress(Progress),
    /// A command has ended.
    Done(Box<Done>),
    /// It ends.
    Failed(String),
}

/// The result of a command.
#[derive(Serialize, Deserialize)]
pub(super) struct Done {
    /// What was counted since the last result.
    pub(super) counts: Counts,
    /// Messages to each of its rooms since the swarm began.
    pub(super) sent: Vec<u32>,
    /// Digests of the order in each of its rooms.
    pub(super) orders: Vec<u64>,
}

/// Runs until standard input ends. Errors are reported to the coordinator.
pub(super) fn run() -> Result<()> {
    // Nothing is left running where the coordinator is killed.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    serve().or_else(|error| answer(&Answer::Failed(format!("{error:#}"))))
}

fn answer(answer: &Answer) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

fn serve() -> Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let plan: Plan = serde_json::from_str(&line).context("the plan")?;
    let (sender, commands) = sync_channel(16);
    // Ends with standard input, or with this process.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut swarm = Swarm::new(plan)?;
    swarm.report_to(Box::new(|progress| drop(answer(&Answer::Progress(progress)))));
    loop {
        match next(&commands)? {
            Next::Command(command) => execute(&mut swarm, &commands, &command)?,
            Next::Nothing => swarm.step(Duration::from_millis(20))?,
            Next::End => return Ok(()),
        }
    }
}

enum Next {
    Command(Command),
    Nothing,
    End,
}

fn next(commands: &Receiver<String>) -> Result<Next> {
    match commands.try_recv() {
        Ok(line) => Ok(Next::Command(serde_json::from_str(&line)?)),
        Err(TryRecvError::Empty) => Ok(Next::Nothing),
        Err(TryRecvError::Disconnected) => Ok(Next::End),
    }
}

fn execute(swarm: &mut Swarm, commands: &Receiver<String>, command: &Command) -> Result<()> {
    match *command {
        Command::Connect { members } => swarm.connect(members)?,
        Command::Idle { seconds } => swarm.idle(Duration::from_secs_f64(seconds))?,
        Command::Send { rate, seconds } => swarm.send_counted(rate, Duration::from_secs_f64(seconds))?,
        Command::Receive => {
            answer(&Answer::Receiving)?;
            swarm.receive_counted(|| match next(commands)? {
                Next::Command(Command::Sent { rooms }) => Ok(Some(rooms)),
                Next::Nothing => Ok(None),
                Next::Command(_) | Next::End => bail!("a command other than `Sent`"),
            })?;
        }
        Command::Sent { .. } => bail!("`Sent` without `Receive`"),
    }
    let counts = swarm.take_counts()?;
    answer(&Answer::Done(Box::new(Done { counts, sent: swarm.sent(), orders: swarm.orders() })))
}
