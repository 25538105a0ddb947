//! `online_users`: a page of the users in a room, from this node's state if that has all of them, else from the store.

use roomcast_protocol::Refusal;
use roomcast_protocol::ack::UsersPage;
use roomcast_protocol::client::OnlineUsers;

use super::limits::page;
use super::{Actor, Chat};

impl Chat {
    pub(super) async fn online_users(
        &self,
        actor: &Actor,
        online_users: OnlineUsers,
    ) -> Result<UsersPage, Refusal> {
        let OnlineUsers { room, cursor, limit } = online_users;
        actor.check_access(&room)?;
        let limit = page(limit, 1)?;
        if cursor.is_none()
            && let Some(online) = self.rooms.online(&room).await
            && online.users.len() == online.count
            && online.count <= limit
        {
            return Ok(UsersPage { count: online.count, users: online.users.to_vec(), cursor: None });
        }
        let page = self.store.presence.users(&room, cursor.as_deref(), limit).await?;
        Ok(UsersPage { count: page.count, users: page.users, cursor: page.cursor })
    }
}
