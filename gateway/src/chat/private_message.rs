//! `private_message`: stores a message in the inboxes of two users. Answered once it is in both.

use roomcast_protocol::ack::SentPrivately;
use roomcast_protocol::client::SendPrivateMessage;
use roomcast_protocol::{Body, Code, Content, Refusal, RoomName, UserName};
use roomcast_store::{Delivery, Published};

use super::limits::{check_text, message_id};
use super::{Actor, Chat};

impl Chat {
    pub(super) async fn private_message(
        &self,
        actor: &Actor,
        message: SendPrivateMessage,
    ) -> Result<SentPrivately, Refusal> {
        let SendPrivateMessage { to, text, id } = message;
        check_text(&text)?;
        let body = private_body(actor, id, Content::Text { text })?;
        self.send_privately(actor, &to, body).await?.ok_or_else(|| offline(to.as_str()))
    }

    /// To the user of exactly the name that was typed, or else to the only member of the actor's room whose name is the
    /// same but for case.
    pub(super) async fn private_message_to(
        &self,
        actor: &Actor,
        (room, typed): (&RoomName, &str),
        text: String,
        id: Option<String>,
    ) -> Result<SentPrivately, Refusal> {
        check_text(&text)?;
        actor.check_access(room)?;
        let body = private_body(actor, id, Content::Text { text })?;
        if let Ok(exact) = UserName::parse(typed)
            && let Some(sent) = self.send_privately(actor, &exact, body.clone()).await?
        {
            return Ok(sent);
        }
        let online = self.rooms.online(room).await.map(|online| online.users).unwrap_or_default();
        match &similar(&online, typed)[..] {
            [] => Err(offline(typed)),
            [user] => self.send_privately(actor, user, body).await?.ok_or_else(|| offline(typed)),
            several => {
                let names: Vec<_> = several.iter().map(|user| user.as_str()).collect();
                let why = format!("{typed} may be {}: write the name exactly", names.join(" or "));
                Err(Refusal::new(Code::BadUsername, why))
            }
        }
    }

    /// Sends a message of any content. None where no user of that name is online.
    pub(super) async fn send_privately(
        &self,
        actor: &Actor,
        to: &UserName,
        body: Body,
    ) -> Result<Option<SentPrivately>, Refusal> {
        let from = actor.person()?;
        let sent = self.repeat_if_unknown(|| self.store.inbox.send(from, to, &body)).await?;
        let Delivery::Sent { published, delivered } = sent else { return Ok(None) };
        let Published { position, ts, duplicate } = published;
        if !duplicate {
            self.telemetry.rooms.stored();
        }
        let (epoch, offset) = (position.epoch, position.offset);
        Ok(Some(SentPrivately { id: body.id, epoch, offset, ts, delivered }))
    }
}

fn private_body(actor: &Actor, id: Option<String>, content: Content) -> Result<Body, Refusal> {
    Ok(Body {
        id: message_id(id)?,
        user: actor.named()?.clone(),
        verified: actor.verified(),
        content,
        extra: None,
    })
}

fn offline(name: &str) -> Refusal {
    Refusal::new(Code::UserOffline, format!("{name} is not online"))
}

/// The users whose names are the same but for case.
fn similar<'a>(users: &'a [UserName], typed: &str) -> Vec<&'a UserName> {
    let typed = typed.to_lowercase();
    users.iter().filter(|user| user.as_str().to_lowercase() == typed).collect()
}
