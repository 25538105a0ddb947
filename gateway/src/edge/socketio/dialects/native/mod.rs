//! Roomcast's own dialect (docs/PROTOCOL.md): a client event carries one object and is acknowledged with
//! `{status, …}`. Listed in the table of `dialects/mod.rs`.

use roomcast_protocol::ack::{Answer, Done, Joined, Online};
use roomcast_protocol::client::{self, ConnectAuth};
use roomcast_protocol::server::Snapshot;
use roomcast_protocol::{Code, Refusal, event};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::super::dialect::{Decoded, Dialect, EncodedReply, Standing};
use super::super::image_data::image_bytes;
use super::super::packet::{Payload, decode_auth};
use crate::chat::{BroadcastOrigin, Command, Recipient, Reply, SendImage};
use crate::hub::Event;
use crate::room::JoinedRoom;

pub(super) struct Native;

impl Dialect for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn sign_in(&self, auth: serde_json::Value) -> Result<Option<ConnectAuth>, Refusal> {
        decode_auth(auth).map(Some)
    }

    /// Its clients choose and keep a secret.
    fn uses_cookie(&self) -> bool {
        false
    }

    fn may_be_long(&self, event: &str) -> bool {
        event == event::client::SEND_IMAGE
    }

    fn decode(
        &self,
        _standing: &dyn Fn() -> Standing,
        event: &str,
        payload: &Payload,
    ) -> Result<Decoded, Refusal> {
        let command = match event {
            event::client::JOIN => payload.decode().map(Command::Join),
            event::client::LEAVE => payload.decode().map(Command::Leave),
            event::client::SEND_MESSAGE => payload.decode().map(Command::SendMessage),
            event::client::BROADCAST => {
                payload.decode().map(|message| Command::Broadcast(message, BroadcastOrigin::Native))
            }
            event::client::PRIVATE_MESSAGE => payload.decode().map(Command::PrivateMessage),
            event::client::SEND_IMAGE => decode_image(payload),
            event::client::TYPING => payload.decode().map(Command::Typing),
            event::client::HISTORY => payload.decode().map(Command::History),
            event::client::ROOMS => payload.decode_or_default().map(Command::Rooms),
            event::client::ONLINE_USERS => payload.decode().map(Command::OnlineUsers),
            unknown => {
                let name: String = unknown.chars().take(64).collect();
                Err(Refusal::new(Code::UnknownEvent, format!("there is no event {name:?}")))
            }
        };
        command.map(Decoded::Command)
    }

    fn encode_reply(&self, reply: Result<Reply, Refusal>) -> serde_json::Result<EncodedReply> {
        match reply {
            Ok(Reply::Joined(room)) => encode_joined(&room),
            Ok(Reply::Left(left)) => ok(&left),
            Ok(Reply::Sent(sent)) => ok(&sent),
            Ok(Reply::SentPrivately(sent)) => ok(&sent),
            Ok(Reply::ImageSent(sent)) => ok(&sent),
            Ok(Reply::History(page)) => ok(&page),
            Ok(Reply::Rooms(page)) => ok(&page),
            Ok(Reply::OnlineUsers(page)) => ok(&page),
            Ok(Reply::Done) => ok(&Done {}),
            Err(refusal) => ack(&Answer::<()>::Error(refusal.into())),
        }
    }

    fn encode_event(
        &self,
        event: &Event,
        emit: &mut dyn FnMut(&'static str, &RawValue),
    ) -> serde_json::Result<()> {
        match event {
            Event::Message(message) => emit(event::server::MESSAGE, &message.json),
            Event::PrivateMessage(message) => emit(event::server::PRIVATE_MESSAGE, &message.json),
            Event::Inbox(payload) => emit(event::server::INBOX, &to_raw_value(payload)?),
            Event::Welcome(payload) => emit(event::server::WELCOME, &to_raw_value(payload)?),
            Event::Presence { change, .. } => emit(event::server::PRESENCE, &to_raw_value(change)?),
            Event::OnlineUsers(payload) => emit(event::server::ONLINE_USERS, &to_raw_value(payload)?),
            Event::Typing(payload) => emit(event::server::TYPING, &to_raw_value(payload)?),
            Event::Resync(payload) => emit(event::server::RESYNC, &to_raw_value(payload)?),
            Event::Restarting(payload) => emit(event::server::RESTARTING, &to_raw_value(payload)?),
        }
        Ok(())
    }
}

fn decode_image(payload: &Payload) -> Result<Command, Refusal> {
    let client::SendImage { room, to, image, alt, id } = payload.decode_with_bytes()?;
    let image = image_bytes(payload, &image)?;
    Ok(Command::SendImage(SendImage { room, to: to.map(Recipient::User), image, alt, id }))
}

/// The acknowledgement of a join, and `online_users` in the same write.
fn encode_joined(joined: &JoinedRoom) -> serde_json::Result<EncodedReply> {
    let JoinedRoom { room, position, recovered, messages, more, online } = joined;
    let snapshot = Snapshot { room: room.clone(), count: online.count, users: &online.users };
    let reply = ok(&Joined {
        room: room.clone(),
        epoch: position.epoch.clone(),
        offset: position.offset,
        recovered: *recovered,
        messages: messages.iter().map(|message| &message.json).collect(),
        more: *more,
        online: Online { count: online.count, users: &online.users },
    })?;
    Ok(EncodedReply { events: vec![(event::server::ONLINE_USERS, to_raw_value(&snapshot)?)], ..reply })
}

/// `{status: "ok", …}`.
fn ok<T: Serialize>(fields: &T) -> serde_json::Result<EncodedReply> {
    ack(&Answer::Ok(fields))
}

fn ack<T: Serialize>(answer: &Answer<T>) -> serde_json::Result<EncodedReply> {
    Ok(EncodedReply { ack: to_raw_value(answer)?, events: Vec::new() })
}

#[cfg(test)]
mod tests {
    use roomcast_protocol::{Epoch, Position, RoomName, UserName};

    use super::*;

    #[test]
    fn a_join_is_answered_with_the_list_of_users_and_followed_by_it() {
        let users: Vec<_> = ["ann", "ben"].map(|name| UserName::parse(name).unwrap()).to_vec();
        let joined = JoinedRoom {
            room: RoomName::parse("r").unwrap(),
            position: Position { epoch: Epoch::new("e"), offset: 7 },
            recovered: true,
            messages: Vec::new(),
            more: false,
            online: Online { count: 2, users: users.into() },
        };
        let EncodedReply { ack, events } = encode_joined(&joined).unwrap();
        assert_eq!(
            ack.get(),
            r#"{"status":"ok","room":"r","epoch":"e","offset":7,"recovered":true,"messages":[],"more":false,"online":{"count":2,"users":["ann","ben"]}}"#
        );
        let events: Vec<_> = events.iter().map(|(name, payload)| (*name, payload.get())).collect();
        assert_eq!(events, [("online_users", r#"{"room":"r","count":2,"users":["ann","ben"]}"#)]);
    }
}
