//! `private_message`: stores a message in the inboxes of two users. Answered once it is in both. What it does for a text,
//! `send_image.rs` does for an image.

use roomcast_protocol::ack::SentPrivately;
use roomcast_protocol::{Body, Code, Content, Refusal, UserName};
use roomcast_store::{Delivery, Person, Published, StoreError, StoredImage};

use super::command::Recipient;
use super::limits::{check_text, message_id};
use super::{Actor, Chat};

/// A message that is in both inboxes.
pub(super) struct Delivered {
    pub(super) published: Published,
    /// Whether a node took it for the recipient.
    pub(super) delivered: bool,
    /// The body that an earlier request with the same id stored, which stands.
    pub(super) first: Option<String>,
}

/// Why a message was not sent.
pub(super) enum NotSent {
    /// Nothing was stored.
    Refused(Refusal),
    Store(StoreError),
}

impl From<Refusal> for NotSent {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for NotSent {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotSent> for Refusal {
    fn from(not_sent: NotSent) -> Self {
        match not_sent {
            NotSent::Refused(refusal) => refusal,
            NotSent::Store(StoreError::IdTaken) => {
                Refusal::new(Code::IdTaken, "a message of yours to another user has this id")
            }
            NotSent::Store(error) => error.into(),
        }
    }
}

impl Chat {
    pub(super) async fn private_message(
        &self,
        actor: &Actor,
        to: Recipient,
        text: String,
        id: Option<String>,
    ) -> Result<SentPrivately, Refusal> {
        check_text(&text)?;
        let body = private_body(actor, message_id(id)?, Content::Text { text })?;
        let Delivered { published, delivered, .. } = self.send_privately(actor, &to, &body, None).await?;
        let Published { position, ts, .. } = published;
        Ok(SentPrivately { id: body.id, epoch: position.epoch, offset: position.offset, ts, delivered })
    }

    /// Sends a message of any content, with the image that it refers to. A name that was typed is the user of exactly that
    /// name, or else the only member of the room whose name is the same but for case.
    pub(super) async fn send_privately(
        &self,
        actor: &Actor,
        to: &Recipient,
        body: &Body,
        image: Option<&StoredImage>,
    ) -> Result<Delivered, NotSent> {
        let from = actor.person()?;
        let (typed, room) = match to {
            Recipient::User(user) => {
                let sent = self.send_to_user(from, user, body, image).await?;
                return sent.ok_or_else(|| offline(user.as_str()).into());
            }
            Recipient::Typed { name, room } => (name, room),
        };
        actor.check_access(room)?;
        if let Ok(exact) = UserName::parse(typed)
            && let Some(sent) = self.send_to_user(from, &exact, body, image).await?
        {
            return Ok(sent);
        }
        let online = self.rooms.online(room).await.map(|online| online.users).unwrap_or_default();
        match &similar(&online, typed)[..] {
            [] => Err(offline(typed).into()),
            [user] => self.send_to_user(from, user, body, image).await?.ok_or_else(|| offline(typed).into()),
            several => {
                let names: Vec<_> = several.iter().map(|user| user.as_str()).collect();
                let why = format!("{typed} may be {}: write the name exactly", names.join(" or "));
                Err(Refusal::new(Code::BadUsername, why).into())
            }
        }
    }

    /// None where no user of that name is online.
    async fn send_to_user(
        &self,
        from: &Person,
        to: &UserName,
        body: &Body,
        image: Option<&StoredImage>,
    ) -> Result<Option<Delivered>, StoreError> {
        let sent = self.repeat_if_unknown(|| self.store.inbox.send(from, to, body, image)).await?;
        let Delivery::Sent { published, delivered, first } = sent else { return Ok(None) };
        if !published.duplicate {
            self.telemetry.rooms.stored();
        }
        Ok(Some(Delivered { published, delivered, first }))
    }
}

pub(super) fn private_body(actor: &Actor, id: String, content: Content) -> Result<Body, Refusal> {
    Ok(Body { id, user: actor.named()?.clone(), verified: actor.verified(), content, extra: None })
}

fn offline(name: &str) -> Refusal {
    Refusal::new(Code::UserOffline, format!("{name} is not online"))
}

/// The users whose names are the same but for case.
fn similar<'a>(users: &'a [UserName], typed: &str) -> Vec<&'a UserName> {
    let typed = typed.to_lowercase();
    users.iter().filter(|user| user.as_str().to_lowercase() == typed).collect()
}
