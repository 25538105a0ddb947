//! The worker of inboxes: which connections follow which person, and how far each has the inbox. A message that is the
//! next one for a connection is sent at once; for one that lacks others, the inbox is read. Created by `mod.rs`, calls
//! `catch_up.rs` and the hub.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use roomcast_protocol::Position;
use roomcast_store::{InboxEvent, Person};
use tokio::sync::mpsc;

use super::catch_up::{Deps, Start, encode_inbox_entry};
use crate::hub::{Batch, Connection, ConnectionId, Event};
use crate::room::Gap;
use crate::users::ClaimedInbox;

/// Persons in [`Unfollowed`] at most. They are there from the claim of the name until the connection is welcome, which
/// takes milliseconds.
const MAX_UNFOLLOWED: usize = 1_024;

pub(super) enum Command {
    /// A connection follows a person's inbox: from the position on that its client asked for, or from where the inbox
    /// was when the name was claimed, or where neither is known, from now on.
    Follow {
        person: Person,
        connection: Arc<Connection>,
        since: Option<Position>,
        claimed: Option<ClaimedInbox>,
    },
    /// A connection has ended.
    Unfollow(ConnectionId),
    /// The bus brought a message of a person's inbox.
    Event { person: Person, event: InboxEvent },
    /// A connection has the inbox up to there.
    CaughtUp { person: Person, connection: ConnectionId, position: Position, began_at_head: bool },
}

/// A connection that follows an inbox.
struct Reader {
    connection: Arc<Connection>,
    progress: Progress,
}

enum Progress {
    /// It has everything up to there.
    At(Position),
    /// A task sends it what it lacks.
    CatchingUp {
        /// Something may have come since, which the task did not see.
        again: bool,
        /// Of a connection that began at the newest message: the first one that came since. The task may have taken it,
        /// or a later one, for the newest.
        first: Option<Position>,
    },
}

/// The first message for each person who has claimed a name on this node and is not followed yet, of the last few.
#[derive(Default)]
struct Unfollowed {
    first: HashMap<Person, Position>,
    oldest_first: VecDeque<Person>,
}

impl Unfollowed {
    fn insert(&mut self, person: &Person, position: Position) {
        if self.first.contains_key(person) {
            return;
        }
        self.first.insert(person.clone(), position);
        self.oldest_first.push_back(person.clone());
        if self.oldest_first.len() > MAX_UNFOLLOWED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.first.remove(&oldest);
        }
    }

    fn remove(&mut self, person: &Person) -> Option<Position> {
        let first = self.first.remove(person)?;
        self.oldest_first.retain(|unfollowed| unfollowed != person);
        Some(first)
    }
}

pub(super) struct Worker {
    commands: mpsc::Receiver<Command>,
    gap: Arc<Gap>,
    results: mpsc::WeakSender<Command>,
    deps: Deps,
    readers: HashMap<Person, Vec<Reader>>,
    unfollowed: Unfollowed,
    last_gap: Option<Instant>,
    /// Whom each connection follows.
    followed: HashMap<ConnectionId, Person>,
}

impl Worker {
    pub(super) fn new(
        commands: mpsc::Receiver<Command>,
        gap: Arc<Gap>,
        results: mpsc::WeakSender<Command>,
        deps: Deps,
    ) -> Self {
        Self {
            commands,
            gap,
            results,
            deps,
            readers: HashMap::new(),
            unfollowed: Unfollowed::default(),
            last_gap: None,
            followed: HashMap::new(),
        }
    }

    /// Runs until every [`super::Inboxes`] handle is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let gap = Arc::clone(&self.gap);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return,
                },
                () = gap.wake.notified() => {}
            }
            if self.gap.noted.swap(false, Ordering::AcqRel) {
                self.read_all_again();
            }
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Follow { person, connection, since, claimed } => {
                self.follow(&person, connection, since, claimed);
            }
            Command::Unfollow(connection) => self.unfollow(connection),
            Command::Event { person, event } => self.event(&person, event),
            Command::CaughtUp { person, connection, position, began_at_head } => {
                self.caught_up(&person, connection, (position, began_at_head));
            }
        }
    }

    fn follow(
        &mut self,
        person: &Person,
        connection: Arc<Connection>,
        since: Option<Position>,
        claimed: Option<ClaimedInbox>,
    ) {
        self.unfollow(connection.id());
        self.followed.insert(connection.id(), person.clone());
        let first = self.unfollowed.remove(person);
        let readers = self.readers.entry(person.clone()).or_default();
        // Where another connection of the person lacks nothing, it begins there.
        let known = readers.iter().find_map(|reader| match &reader.progress {
            Progress::At(position) => Some(position.clone()),
            Progress::CatchingUp { .. } => None,
        });
        let is_complete = |ClaimedInbox { since, .. }: &ClaimedInbox| {
            first.is_none() && self.last_gap.is_none_or(|gap| gap < *since)
        };
        let progress = match (since, claimed) {
            (None, Some(claimed)) if is_complete(&claimed) => Progress::At(claimed.position),
            (since, claimed) => {
                let from = claimed.map(|claimed| claimed.position).or(known);
                let start = since.map(Start::Since).or(from.map(Start::From));
                self.deps.catch_up(&self.results, person, &connection, start.unwrap_or(Start::Head));
                Progress::CatchingUp { again: first.is_some(), first }
            }
        };
        readers.push(Reader { connection, progress });
    }

    fn unfollow(&mut self, connection: ConnectionId) {
        let Some(person) = self.followed.remove(&connection) else { return };
        if let Entry::Occupied(mut readers) = self.readers.entry(person) {
            readers.get_mut().retain(|reader| reader.connection.id() != connection);
            if readers.get().is_empty() {
                readers.remove();
            }
        }
    }

    fn event(&mut self, person: &Person, InboxEvent { position, entry }: InboxEvent) {
        let Some(readers) = self.readers.get_mut(person) else {
            self.unfollowed.insert(person, position);
            return;
        };
        let mut batch = Batch::default();
        if let Some(message) = entry.and_then(encode_inbox_entry) {
            batch.push(Event::PrivateMessage(Arc::new(message)));
        }
        for reader in readers {
            let at = match &mut reader.progress {
                Progress::At(at) => at,
                Progress::CatchingUp { again, first } => {
                    *again = true;
                    first.get_or_insert(position.clone());
                    continue;
                }
            };
            // An empty inbox is in no particular epoch.
            let same_epoch = at.epoch == position.epoch || at.offset == 0;
            if same_epoch && at.offset >= position.offset {
                continue;
            }
            if same_epoch && at.offset + 1 == position.offset && !batch.is_empty() {
                *at = position.clone();
                if let Some(written) = reader.connection.send(&batch) {
                    self.deps.telemetry.wire.written(&written);
                }
            } else {
                let start = Start::From(at.clone());
                reader.progress = self.deps.catch_up(&self.results, person, &reader.connection, start);
            }
        }
    }

    fn caught_up(
        &mut self,
        person: &Person,
        connection: ConnectionId,
        (position, began_at_head): (Position, bool),
    ) {
        let readers = self.readers.get_mut(person).into_iter().flatten();
        for reader in readers.filter(|reader| reader.connection.id() == connection) {
            reader.progress = match &reader.progress {
                Progress::CatchingUp { again: true, first } => {
                    let first = first.clone().filter(|first| began_at_head && first.epoch == position.epoch);
                    let before =
                        |Position { epoch, offset }| Position { epoch, offset: offset.saturating_sub(1) };
                    let from = first.map(before).filter(|first| first.offset < position.offset);
                    let start = Start::From(from.unwrap_or_else(|| position.clone()));
                    self.deps.catch_up(&self.results, person, &reader.connection, start)
                }
                _ => Progress::At(position.clone()),
            };
        }
    }

    /// Events may have been missed, of any inbox.
    fn read_all_again(&mut self) {
        self.last_gap = Some(tokio::time::Instant::now().into_std());
        for (person, readers) in &mut self.readers {
            for reader in readers {
                match &mut reader.progress {
                    Progress::CatchingUp { again, .. } => *again = true,
                    Progress::At(at) => {
                        let start = Start::From(at.clone());
                        reader.progress =
                            self.deps.catch_up(&self.results, person, &reader.connection, start);
                    }
                }
            }
        }
    }
}

impl Deps {
    /// Starts a task that sends a connection what it lacks.
    fn catch_up(
        &self,
        results: &mpsc::WeakSender<Command>,
        person: &Person,
        connection: &Arc<Connection>,
        start: Start,
    ) -> Progress {
        let (deps, results) = (self.clone(), results.clone());
        let (person, connection) = (person.clone(), Arc::clone(connection));
        self.lifecycle.spawn_until_hard("inbox-read", async move {
            let began_at_head = matches!(start, Start::Head);
            let Some(position) = deps.send_missed(&person, &connection, start).await else { return };
            let connection = connection.id();
            if let Some(results) = results.upgrade()
                && results
                    .send(Command::CaughtUp { person, connection, position, began_at_head })
                    .await
                    .is_err()
            {
                tracing::debug!("the worker of inboxes has stopped");
            }
        });
        Progress::CatchingUp { again: false, first: None }
    }
}
