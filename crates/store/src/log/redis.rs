//! The room log in Redis: one script a call, all of a room's keys in its slot.

use std::sync::Arc;

use async_trait::async_trait;
use redis::{FromRedisValue, Value};
use roomcast_ops::trace::{Kind, Span};
use roomcast_protocol::{Epoch, Position, RoomName};

use super::{
    Entry, Head, Opened, Page, PublishRequest, Published, ReadLimit, Replay, Retention, RoomLog,
    candidate_epoch,
};
use crate::batcher::PublishBatcher;
use crate::bus::channels::Channels;
use crate::envelope;
use crate::error::{Result, StoreError};
use crate::images::StoredImage;
use crate::images::redis::RedisImages;
use crate::keys::Keys;
use crate::layout::{self, WriteLayout};
use crate::link::{Link, parse_answer};
use crate::script;
use crate::settings::Settings;

pub(crate) struct RedisLog {
    link: Link,
    keys: Keys,
    batcher: PublishBatcher,
    layout: Arc<WriteLayout>,
    /// Renewed and released with the messages that refer to them.
    images: RedisImages,
    /// Told of messages that nobody received.
    channels: Arc<Channels>,
    /// The retention, as arguments of the scripts.
    idle: String,
    kept: [String; 3],
}

type Stream = Vec<(String, Vec<String>)>;

impl RedisLog {
    pub(crate) fn new(
        link: Link,
        keys: Keys,
        settings: &Settings,
        (layout, images, channels): (Arc<WriteLayout>, RedisImages, Arc<Channels>),
    ) -> Self {
        let Retention { len, age, cap, idle } = settings.retention;
        Self {
            batcher: PublishBatcher::new(link.clone(), &script::LOG_PUBLISH, settings.batch_window),
            link,
            keys,
            layout,
            images,
            channels,
            idle: idle.as_millis().to_string(),
            kept: [len.to_string(), age.as_millis().to_string(), cap.to_string()],
        }
    }

    async fn read(
        &self,
        room: &RoomName,
        mode: &str,
        offset: u64,
        limit: ReadLimit,
    ) -> Result<(Head, Vec<Entry>, bool)> {
        let (epoch, offset, prior, entries, cut, due): (String, u64, String, Stream, bool, bool) = self
            .link
            .script(
                &script::LOG_READ,
                &self.keys.log(room),
                &[
                    candidate_epoch().as_bytes(),
                    self.idle.as_bytes(),
                    mode.as_bytes(),
                    offset.to_string().as_bytes(),
                    limit.entries.to_string().as_bytes(),
                    limit.bytes.to_string().as_bytes(),
                ],
            )
            .await?;
        if due {
            self.renew_images(room).await;
        }
        let position = Position { epoch: Epoch::new(&epoch), offset };
        let prior = earlier_epochs(&prior);
        let mut entries = entries.into_iter().map(entry).collect::<Result<Vec<_>>>()?;
        if mode != "after" {
            entries.reverse();
        }
        Ok((Head { position, prior }, entries, cut))
    }

    /// Renews the leases of a room's images. If that fails, it is tried again with the next read.
    async fn renew_images(&self, room: &RoomName) {
        if let Err(error) = self.images.renew_room(room).await {
            tracing::debug!(%error, "the leases of a room's images could not be renewed");
        }
    }
}

/// Earlier epochs, as scripts return them.
pub(crate) fn earlier_epochs(prior: &str) -> Vec<Position> {
    let earlier_epoch = |text: &str| {
        let (epoch, offset) = text.rsplit_once(':')?;
        Some(Position { epoch: Epoch::new(epoch), offset: offset.parse().ok()? })
    };
    prior.split_whitespace().filter_map(earlier_epoch).collect()
}

fn entry((id, fields): (String, Vec<String>)) -> Result<Entry> {
    let corrupt = || StoreError::Corrupt(format!("the log entry {id}"));
    let offset = id.split('-').next().and_then(|offset| offset.parse().ok()).ok_or_else(corrupt)?;
    let (mut epoch, mut ts, mut body) = (None, None, None);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match name.as_str() {
            "e" => epoch = Some(Epoch::new(&value)),
            "t" => ts = value.parse().ok(),
            "d" => body = Some(layout::read(value)),
            _ => {}
        }
    }
    match (epoch, ts, body) {
        (Some(epoch), Some(ts), Some(body)) => Ok(Entry { epoch, offset, ts, body, trace: None }),
        _ => Err(corrupt()),
    }
}

#[async_trait]
impl RoomLog for RedisLog {
    async fn publish(&self, request: PublishRequest<'_>) -> Result<Published> {
        let PublishRequest { room, body, image, urgent } = request;
        let image = image.map(StoredImage::reference).unwrap_or_default();
        let encoded = body.encode().map_err(|error| StoreError::Settings(error.to_string()))?;
        let mut span = Span::redis("publish", Kind::Producer, "EVALSHA");
        let trace = span.trace().map(envelope::trace_word).unwrap_or_default();
        let [len, age, cap] = &self.kept;
        let call = script::LOG_PUBLISH.call(
            &self.keys.log(room),
            &[
                candidate_epoch().as_bytes(),
                self.idle.as_bytes(),
                body.id.as_bytes(),
                body.user.as_str().as_bytes(),
                self.layout.write(&encoded).as_bytes(),
                if body.content.counts_as_unread() { b"1" } else { b"0" },
                len.as_bytes(),
                age.as_bytes(),
                cap.as_bytes(),
                self.keys.room_channel(room).as_bytes(),
                trace.as_bytes(),
                image.as_bytes(),
            ],
        );
        let answer = self.batcher.call(call, urgent).await.and_then(parse_answer::<Vec<Value>>);
        let mut answer = answer.inspect_err(|error| span.fail(error.label()))?.into_iter();
        let duplicate = match field::<String>(answer.next())?.as_str() {
            "stored" => false,
            "known" => true,
            "taken" => return Err(StoreError::IdTaken),
            other => return Err(StoreError::Corrupt(format!("publish answered {other}"))),
        };
        let epoch = Epoch::new(&field::<String>(answer.next())?);
        let position = Position { epoch, offset: field(answer.next())? };
        let ts = field(answer.next())?;
        if !duplicate {
            if field::<u64>(answer.next())? == 0 {
                self.channels.published_unheard(room).await;
            }
            self.images.release(&field::<Vec<String>>(answer.next())?).await;
        }
        Ok(Published { position, ts, duplicate })
    }

    async fn open(&self, room: &RoomName, newest: usize) -> Result<Opened> {
        let (head, newest, _) = self.read(room, "newest", 0, ReadLimit::entries(newest)).await?;
        Ok(Opened { head, newest })
    }

    async fn since(&self, room: &RoomName, position: &Position, limit: ReadLimit) -> Result<Replay> {
        let (head, entries, _) = self.read(room, "after", position.offset, limit).await?;
        Ok(Replay::of(head, position, entries, limit))
    }

    async fn before(&self, room: &RoomName, offset: Option<u64>, limit: ReadLimit) -> Result<Page> {
        let (mode, offset) = offset.map_or(("newest", 0), |offset| ("before", offset));
        let one_more = ReadLimit { entries: limit.entries + 1, ..limit };
        let (_, mut entries, cut) = self.read(room, mode, offset, one_more).await?;
        let more = entries.len() > limit.entries;
        if more {
            entries.remove(0);
        }
        Ok(Page { entries, more: more || cut })
    }

    async fn touch(&self, room: &RoomName) -> Result<()> {
        self.link.script::<()>(&script::LOG_TOUCH, &self.keys.log(room), &[self.idle.as_bytes()]).await?;
        self.renew_images(room).await;
        Ok(())
    }
}

fn field<T: FromRedisValue>(value: Option<Value>) -> Result<T> {
    parse_answer(value.ok_or_else(|| StoreError::Corrupt("publish answered too little".into()))?)
}
