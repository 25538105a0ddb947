//! Inboxes in Redis. A message is stored by one script in the slot of each of the two users, the sender first: an id
//! that the sender used before is recognised there, with the person whom it was sent to, so that a repetition completes
//! what was interrupted, with the body that was stored first. A script cannot publish to another slot's channel: the nodes
//! are told by a command each.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Value, cmd};
use roomcast_protocol::{Body, Epoch, Position, UserName};

use super::{Delivery, Inbox, InboxEntry, InboxEvent, InboxPage, Missed};
use crate::envelope;
use crate::error::{Result, StoreError};
use crate::images::StoredImage;
use crate::images::redis::RedisImages;
use crate::keys::Keys;
use crate::link::{Link, parse_answer};
use crate::log::redis::earlier_epochs;
use crate::log::{Entry, Head, Published, ReadLimit, candidate_epoch};
use crate::names::Secret;
use crate::names::redis::online_owner;
use crate::nodes::Incarnation;
use crate::person::Person;
use crate::script;
use crate::settings::Settings;

pub(crate) struct RedisInbox {
    link: Link,
    keys: Keys,
    /// Renewed and released with the messages that refer to them.
    images: RedisImages,
    idle: Duration,
    kept: String,
}

type Stream = Vec<(String, Vec<String>)>;

/// One of the two copies of a message.
struct Copy<'a> {
    owner: &'a Person,
    other: &'a UserName,
    /// None where the other user is offline.
    others_secret: Option<&'a Secret>,
    direction: &'static str,
    /// When the other copy was stored.
    ts: Option<u64>,
}

/// What is stored: a body, and the image that it refers to or nothing, as a log has it.
struct Content {
    body: String,
    image: String,
}

enum Stored {
    At(Place),
    Taken,
    Offline,
}

/// Where a copy is.
struct Place {
    position: Position,
    ts: u64,
    /// What an earlier attempt stored.
    first: Option<Content>,
    /// The other user, as recorded with the first attempt.
    other: Person,
    /// The nodes on which the owner is connected.
    nodes: Vec<Incarnation>,
}

impl RedisInbox {
    pub(crate) fn new(link: Link, keys: Keys, settings: &Settings, images: RedisImages) -> Self {
        let (idle, kept) = (settings.retention.idle, settings.inbox_len.to_string());
        Self { link, keys, images, idle, kept }
    }

    fn idle(&self, person: &Person) -> String {
        person.idle(self.idle).as_millis().to_string()
    }

    async fn store(&self, copy: &Copy<'_>, body: &Body, content: &Content) -> Result<Stored> {
        let Copy { owner, other, others_secret, direction, ts } = copy;
        let key = format!("{}\n{}", body.user, body.id);
        let hash = others_secret.map(Secret::to_hex).unwrap_or_default();
        let ts = ts.map(|ts| ts.to_string()).unwrap_or_default();
        let args = [
            candidate_epoch(),
            self.idle(owner),
            key,
            other.to_string(),
            hash,
            (*direction).to_owned(),
            content.body.clone(),
            self.kept.clone(),
            owner.secret.to_hex(),
            ts,
            content.image.clone(),
        ];
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        let answer: Vec<Value> =
            self.link.script(&script::INBOX_STORE, &self.keys.inbox(owner), &args).await?;
        let mut answer = answer.into_iter();
        let mut next = || answer.next().ok_or_else(|| corrupt("a short answer"));
        let duplicate = match parse_answer::<String>(next()?)?.as_str() {
            "stored" => false,
            "known" => true,
            "taken" => return Ok(Stored::Taken),
            "offline" => return Ok(Stored::Offline),
            _ => return Err(corrupt("another answer")),
        };
        let position =
            Position { epoch: Epoch::new(&parse_answer::<String>(next()?)?), offset: parse_answer(next()?)? };
        let ts = parse_answer(next()?)?;
        let hash: String = parse_answer(next()?)?;
        // Whether the name is proved is not recorded; only the time for which an inbox is kept depends on it.
        let proved = others_secret.is_none_or(Secret::is_proved);
        let secret = Secret::from_hex(&hash, proved).ok_or_else(|| corrupt("a hash"))?;
        let first = Content { body: parse_answer(next()?)?, image: parse_answer(next()?)? };
        let (due, gone): (bool, Vec<String>) = (parse_answer(next()?)?, parse_answer(next()?)?);
        let nodes = answer.map(|node| Ok(Incarnation::new(&parse_answer::<String>(node)?)));
        let nodes = nodes.collect::<Result<_>>()?;
        self.images.release_copies(&gone).await;
        if due {
            self.renew_images(owner).await;
        }
        Ok(Stored::At(Place {
            position,
            ts,
            first: duplicate.then_some(first),
            other: Person { user: (*other).clone(), secret },
            nodes,
        }))
    }

    /// Renews the leases of the images of an inbox. If that fails, it is tried again with the next use.
    async fn renew_images(&self, person: &Person) {
        if let Err(error) = self.images.renew_inbox(person).await {
            tracing::debug!(%error, "the leases of an inbox's images could not be renewed");
        }
    }

    /// Tells each node on which the owner of a copy is connected. Returns how many received it.
    async fn tell(&self, copy: &Copy<'_>, place: &Place, encoded: &str) -> Result<u64> {
        let entry = place.first.is_none().then(|| InboxEntry {
            entry: Entry {
                epoch: place.position.epoch.clone(),
                offset: place.position.offset,
                ts: place.ts,
                body: encoded.to_owned(),
                trace: None,
            },
            to: if copy.direction == "out" { copy.other.clone() } else { copy.owner.user.clone() },
        });
        let event = InboxEvent { position: place.position.clone(), entry };
        let payload = envelope::private(copy.owner, &event);
        let publish = |node| {
            let mut command = cmd("SPUBLISH");
            command.arg(self.keys.node_inbox(node)).arg(&payload);
            command
        };
        let received: Vec<u64> = self.link.commands(place.nodes.iter().map(publish).collect()).await?;
        Ok(received.into_iter().sum())
    }

    async fn read(
        &self,
        person: &Person,
        (mode, offset): (&str, u64),
        limit: ReadLimit,
        with: &str,
    ) -> Result<(Head, Vec<InboxEntry>, bool)> {
        let args = [
            candidate_epoch(),
            self.idle(person),
            mode.to_owned(),
            offset.to_string(),
            limit.entries.to_string(),
            limit.bytes.to_string(),
            with.to_owned(),
        ];
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        let (epoch, offset, prior, entries, cut, due): (String, u64, String, Stream, bool, bool) =
            self.link.script(&script::INBOX_READ, &self.keys.inbox(person), &args).await?;
        if due {
            self.renew_images(person).await;
        }
        let position = Position { epoch: Epoch::new(&epoch), offset };
        let mut entries =
            entries.into_iter().map(|entry| inbox_entry(&person.user, entry)).collect::<Result<Vec<_>>>()?;
        if mode != "after" {
            entries.reverse();
        }
        Ok((Head { position, prior: earlier_epochs(&prior) }, entries, cut))
    }
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("an inbox: {what}"))
}

fn inbox_entry(owner: &UserName, (id, fields): (String, Vec<String>)) -> Result<InboxEntry> {
    let offset = id.split('-').next().and_then(|offset| offset.parse().ok());
    let (mut epoch, mut ts, mut body, mut other, mut sent) = (None, None, None, None, None);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match name.as_str() {
            "e" => epoch = Some(Epoch::new(&value)),
            "t" => ts = value.parse().ok(),
            "w" => other = UserName::parse(&value).ok(),
            "s" => sent = Some(value == "out"),
            "d" => body = Some(value),
            _ => {}
        }
    }
    match (offset, epoch, ts, body, other, sent) {
        (Some(offset), Some(epoch), Some(ts), Some(body), Some(other), Some(sent)) => Ok(InboxEntry {
            entry: Entry { epoch, offset, ts, body, trace: None },
            to: if sent { other } else { owner.clone() },
        }),
        _ => Err(corrupt("an entry")),
    }
}

/// After the first copy was stored, "nothing happened" is not true any more.
fn interrupted(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(why) => StoreError::Unknown(why),
        other => other,
    }
}

#[async_trait]
impl Inbox for RedisInbox {
    async fn send(
        &self,
        from: &Person,
        to: &UserName,
        body: &Body,
        image: Option<&StoredImage>,
    ) -> Result<Delivery> {
        let encoded = body.encode().map_err(|error| StoreError::Settings(error.to_string()))?;
        let image = image.map(StoredImage::reference).unwrap_or_default();
        let content = Content { body: encoded, image };
        let recipient = online_owner(&self.link, &self.keys, to).await?;
        let others_secret = recipient.as_ref();
        let sent = Copy { owner: from, other: to, others_secret, direction: "out", ts: None };
        let place = match self.store(&sent, body, &content).await? {
            Stored::At(place) => place,
            Stored::Taken => return Err(StoreError::IdTaken),
            Stored::Offline => return Ok(Delivery::Offline),
        };
        let Place { position, ts, first, other, .. } = &place;
        let published = Published { position: position.clone(), ts: *ts, duplicate: first.is_some() };
        let stands = first.as_ref().unwrap_or(&content);
        let Content { body: encoded, image } = stands;
        let first = first.as_ref().map(|first| first.body.clone());
        if other == from {
            self.images.sent(image, from, other).await.map_err(interrupted)?;
            let delivered = self.tell(&sent, &place, encoded).await.map_err(interrupted)? > 0;
            return Ok(Delivery::Sent { published, delivered, first });
        }
        let others_secret = Some(&from.secret);
        let received =
            Copy { owner: other, other: &from.user, others_secret, direction: "in", ts: Some(*ts) };
        let Stored::At(received_place) = self.store(&received, body, stands).await.map_err(interrupted)?
        else {
            return Err(corrupt("a copy without its other"));
        };
        self.images.sent(image, from, other).await.map_err(interrupted)?;
        let (own, delivered) =
            tokio::join!(self.tell(&sent, &place, encoded), self.tell(&received, &received_place, encoded));
        own.map_err(interrupted)?;
        Ok(Delivery::Sent { published, delivered: delivered.map_err(interrupted)? > 0, first })
    }

    async fn head(&self, person: &Person) -> Result<Position> {
        let (head, ..) = self.read(person, ("newest", 0), ReadLimit::entries(0), "").await?;
        Ok(head.position)
    }

    async fn since(&self, person: &Person, position: &Position, limit: ReadLimit) -> Result<Missed> {
        let (head, entries, _) = self.read(person, ("after", position.offset), limit, "").await?;
        Ok(Missed::of(head, position, entries))
    }

    async fn conversation(
        &self,
        person: &Person,
        other: &UserName,
        before: Option<u64>,
        limit: ReadLimit,
    ) -> Result<InboxPage> {
        let from = before.map_or(("newest", 0), |offset| ("before", offset));
        let one_more = ReadLimit { entries: limit.entries + 1, ..limit };
        let (_, mut entries, cut) = self.read(person, from, one_more, other.as_str()).await?;
        let more = entries.len() > limit.entries;
        if more {
            entries.remove(0);
        }
        Ok(InboxPage { entries, more: more || cut })
    }
}
