//! The processes of one swarm: divides a plan among as many as its connections need, passes commands on, and adds up
//! what they answer. Each has a loopback address of its own, as an address has only so many ports. Called by the
//! scenarios; the other end is `worker.rs`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::log::log;
use super::worker::{Answer, Command, Done};
use crate::swarm::{Counts, Part, Plan, Progress};

/// Connections of one process: fewer than the files that it may usually open, and than the ports of an address.
pub(super) const MAX_CONNECTIONS: usize = 18_000;
/// Members of a room that send, in a room that is divided among processes.
const SENDERS: usize = 100;
/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);

struct Process {
    child: Child,
    commands: ChildStdin,
    members: usize,
    progress: Progress,
}

/// A swarm in several processes; they are killed when it is dropped.
pub(super) struct Workers {
    processes: Vec<Process>,
    answers: Receiver<(usize, Answer)>,
    /// Rooms have members in several processes, of which the first one sends.
    divided: bool,
    rooms: usize,
    members: usize,
    began: Instant,
    /// When progress was shown last.
    shown: Instant,
}

/// The parts of a plan: some rooms for each process, or some members of every room where there are fewer rooms.
fn parts(whole: &Plan, count: usize) -> Vec<Plan> {
    let (divided, all) = if whole.rooms < count { (true, whole.members_each) } else { (false, whole.rooms) };
    let mut first_id = 0;
    let part = |number: usize| {
        let (first, end) = (all * number / count, all * (number + 1) / count);
        let mut plan = whole.clone();
        let place = if divided { &mut plan.members_each } else { &mut plan.rooms };
        *place = end - first;
        plan.part = Part {
            first_room: if divided { 0 } else { first },
            first_index: if divided { first } else { 0 },
            first_id,
            senders: Some(if divided && number > 0 { 0 } else { SENDERS }),
            source: source(whole, number),
            began: whole.part.began,
        };
        first_id += plan.members();
        plan
    };
    (0..count).map(part).collect()
}

/// Servers elsewhere are reached from the machine's own address.
fn source(plan: &Plan, number: usize) -> Option<IpAddr> {
    let local = plan.servers.iter().all(|server| server.ip().is_loopback() && server.is_ipv4());
    let last = u8::try_from(number + 2).ok()?;
    local.then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
}

impl Workers {
    /// Starts the processes; nothing is connected yet.
    pub(super) fn start(plan: &Plan, processes: usize) -> Result<Self> {
        let mut plan = plan.clone();
        plan.part.began = Some(SystemTime::now());
        let (sender, answers) = sync_channel(1024);
        let mut workers = Self {
            processes: Vec::new(),
            answers,
            divided: plan.rooms < processes,
            rooms: plan.rooms,
            members: plan.members(),
            began: Instant::now(),
            shown: Instant::now(),
        };
        for (number, part) in parts(&plan, processes).iter().enumerate() {
            let process = start_process(number, part, sender.clone())?;
            workers.processes.push(process);
        }
        Ok(workers)
    }

    /// Its processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.child.id()).collect()
    }

    /// Connects members until this many have joined; returns the counts, which have the times that joins took.
    pub(super) fn connect(&mut self, members: usize) -> Result<Counts> {
        let all = self.members;
        let of = |process: &Process| members.min(all) * process.members / all.max(1);
        let commands: Vec<Command> =
            self.processes.iter().map(|process| Command::Connect { members: of(process) }).collect();
        self.all(&commands, "connecting")
    }

    /// Serves the connections for a while.
    pub(super) fn idle(&mut self, time: Duration) -> Result<Counts> {
        let command = Command::Idle { seconds: time.as_secs_f64() };
        self.all(&vec![command; self.processes.len()], "idle")
    }

    /// Sends at a rate, all rooms together, for a while.
    pub(super) fn send(&mut self, rate: f64, time: Duration) -> Result<Counts> {
        let seconds = time.as_secs_f64();
        let count = self.processes.len();
        if !self.divided {
            let share = |process: &Process| process.members as f64 / self.members as f64;
            let send = |process| Command::Send { rate: rate * share(process), seconds };
            let commands: Vec<Command> = self.processes.iter().map(send).collect();
            return self.all(&commands, "sending");
        }
        for receiver in 1..count {
            self.tell(receiver, &Command::Receive)?;
        }
        for _ in 1..count {
            self.wait("sending", |answer| matches!(answer, Answer::Receiving).then_some(()))?;
        }
        self.tell(0, &Command::Send { rate, seconds })?;
        let (_, sender) = self.wait_done("sending")?;
        for receiver in 1..count {
            self.tell(receiver, &Command::Sent { rooms: sender.sent.clone() })?;
        }
        let mut counts = sender.counts;
        for _ in 1..count {
            let (_, done) = self.wait_done("receiving")?;
            counts.add(&done.counts)?;
            // Where nothing was lost, all processes saw one order, or members disagree.
            let others = sender.orders.iter().zip(&done.orders).filter(|(one, other)| one != other);
            counts.disagreed += others.count() as u64;
        }
        Ok(counts)
    }

    /// One message to every room, within a second or so.
    pub(super) fn send_one_each(&mut self) -> Result<Counts> {
        let rooms = self.rooms as f64;
        // The last one is sent half a turn before the end, so that rounding neither adds nor omits one.
        self.send(rooms, Duration::from_secs_f64((rooms - 0.5) / rooms))
    }

    fn all(&mut self, commands: &[Command], doing: &str) -> Result<Counts> {
        for (number, command) in commands.iter().enumerate() {
            self.tell(number, command)?;
        }
        let mut counts = Counts::new()?;
        for _ in commands {
            let (_, done) = self.wait_done(doing)?;
            counts.add(&done.counts)?;
        }
        Ok(counts)
    }

    fn tell(&mut self, number: usize, command: &Command) -> Result<()> {
        let process = self.processes.get_mut(number).context("a process")?;
        process.progress = Progress { joined: process.progress.joined, ..Progress::default() };
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        process.commands.write_all(&line).context("a process of the swarm has ended")
    }

    fn wait_done(&mut self, doing: &str) -> Result<(usize, Done)> {
        let done = |answer| if let Answer::Done(done) = answer { Some(*done) } else { None };
        let (number, done) = self.wait(doing, done)?;
        if let Some(process) = self.processes.get_mut(number) {
            process.progress.sent = done.counts.sent;
            process.progress.delivered = done.counts.delivered;
        }
        Ok((number, done))
    }

    /// The next answer of this kind; shows the progress meanwhile.
    fn wait<T>(&mut self, doing: &str, wanted: impl Fn(Answer) -> Option<T>) -> Result<(usize, T)> {
        loop {
            if self.shown.elapsed() >= SHOW_EVERY {
                self.shown = Instant::now();
                self.show(doing);
            }
            let (number, answer) = match self.answers.recv_timeout(SHOW_EVERY / 4) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => bail!("the processes of the swarm have ended"),
            };
            match answer {
                Answer::Progress(progress) => {
                    if let Some(process) = self.processes.get_mut(number) {
                        process.progress = progress;
                    }
                }
                Answer::Failed(why) => bail!("{why}"),
                other => {
                    if let Some(found) = wanted(other) {
                        return Ok((number, found));
                    }
                }
            }
        }
    }

    fn show(&self, doing: &str) {
        let sum = |of: fn(&Progress) -> u64| -> u64 {
            self.processes.iter().map(|process| of(&process.progress)).sum()
        };
        let joined = sum(|progress| progress.joined as u64);
        let counts = match (sum(|progress| progress.sent), sum(|progress| progress.delivered)) {
            (0, 0) => String::new(),
            (sent, delivered) => format!(", {sent} sent, {delivered} delivered"),
        };
        log(format_args!(
            "  {:>4} s  {doing}: {joined} of {} joined{counts}",
            self.began.elapsed().as_secs(),
            self.members
        ));
    }
}

fn start_process(number: usize, plan: &Plan, answers: SyncSender<(usize, Answer)>) -> Result<Process> {
    let mut child = std::process::Command::new(std::env::current_exe()?)
        .arg("--part")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting a process of the swarm")?;
    let mut commands = child.stdin.take().context("its standard input")?;
    let out = child.stdout.take().context("its standard output")?;
    serde_json::to_writer(&mut commands, plan)?;
    commands.write_all(b"\n")?;
    // Ends with the process, or when the answers are not wanted any more.
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let parsed = serde_json::from_str(&line);
            let answer = parsed.unwrap_or_else(|error| Answer::Failed(format!("an answer: {error}")));
            if answers.send((number, answer)).is_err() {
                return;
            }
        }
        drop(answers.send((number, Answer::Failed(format!("process {number} of the swarm has ended")))));
    });
    Ok(Process { child, commands, members: plan.members(), progress: Progress::default() })
}

impl Drop for Workers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Errors mean that it has ended already.
            drop(process.child.kill());
            drop(process.child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::dialect::Dialect;
    use crate::swarm::RoomAt;

    fn plan(rooms: usize, members_each: usize, server: [u8; 4]) -> Plan {
        Plan {
            dialect: Dialect::Roomcast,
            servers: vec![SocketAddr::from((server, 3000))],
            rooms,
            members_each,
            at: RoomAt::All,
            text_bytes: 256,
            slow_reader: false,
            part: Part::default(),
        }
    }

    #[test]
    fn rooms_are_divided_among_processes() {
        let parts = parts(&plan(500, 100, [127, 0, 0, 1]), 3);
        let shape: Vec<_> =
            parts.iter().map(|plan| (plan.part.first_room, plan.rooms, plan.part.first_id)).collect();
        assert_eq!(shape, [(0, 166, 0), (166, 167, 16_600), (333, 167, 33_300)]);
        assert!(parts.iter().all(|plan| plan.members() <= MAX_CONNECTIONS && plan.members_each == 100));
        assert!(parts.iter().all(|plan| plan.part.senders == Some(SENDERS)));
        let sources: Vec<_> = parts.iter().filter_map(|plan| plan.part.source).collect();
        assert_eq!(sources, [2, 3, 4].map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))));
    }

    #[test]
    fn members_of_few_rooms_are_divided_and_one_process_sends() {
        let parts = parts(&plan(1, 50_000, [10, 0, 0, 1]), 3);
        let shape: Vec<_> = parts
            .iter()
            .map(|plan| (plan.part.first_index, plan.members_each, plan.part.first_id, plan.part.senders))
            .collect();
        let expected = [
            (0, 16_666, 0, Some(SENDERS)),
            (16_666, 16_667, 16_666, Some(0)),
            (33_333, 16_667, 33_333, Some(0)),
        ];
        assert_eq!(shape, expected);
        assert!(parts.iter().all(|plan| plan.rooms == 1 && plan.part.first_room == 0));
        assert!(parts.iter().all(|plan| plan.part.source.is_none()), "not on loopback");
    }
}
