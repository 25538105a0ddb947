//! `online_users`: who is in a room, from what this node knows where that is all, page by page from the store where
//! it is not.

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
        actor.must_reach(&room)?;
        let limit = page(limit, 1)?;
        if cursor.is_none()
            && let Some(online) = self.rooms.online(&room).await
            && online.users.len() == online.count
            && online.count <= limit
        {
            return Ok(UsersPage { count: online.count, users: online.users, cursor: None });
        }
        let page = self.store.presence.users(&room, cursor.as_deref(), limit).await?;
        Ok(UsersPage { count: page.count, users: page.users, cursor: page.cursor })
    }
}
