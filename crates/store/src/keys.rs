//! Every key and channel of Roomcast in Redis; no other file spells one. `P` is the prefix (`rc1`: its digit is
//! the version of this table), `{t}` the hash tag of a partition (`partition.rs`), `{n}` the tag that
//! the few keys about nodes share, `{i}` that of the two about all images.
//!
//! | key or channel | type | content | removed | written by | read by |
//! |---|---|---|---|---|---|
//! | `P:{t}:m:ROOM` | hash | log meta: epoch `e`, offset `o`, counted `n`, replid `r`, earlier epochs `p`; `g:IMAGE` → `OFFSET HASH` for each message with an image, trimmed with the log, and when their leases were renewed, `g` | idle + 1 day, or with an unused room | `log_*.lua`, `image_*.lua` | `log_*.lua`, `image_*.lua`, `forget_if_unused.lua` |
//! | `P:{t}:l:ROOM` | stream | the log; entry id is `OFFSET-0`, fields: epoch `e`, ms `t`, counted `n`, id `i`, body `d`, perhaps image `g` as `IMAGE HASH` | idle | `log_publish.lua` | `log_read.lua` |
//! | `P:{t}:i:ROOM` | hash | message id → `OFFSET TS EPOCH USER`, trimmed with the log | idle | `log_publish.lua` | `log_publish.lua` |
//! | `P:{t}:u:ROOM` | hash | user → incarnations with a fact of the user, space-separated | swept | `presence_*.lua` | `presence_read.lua`, HSCAN |
//! | `P:{t}:f:ROOM` | sorted set | facts `INCARNATION USER`, all scores 0 | swept | `presence_*.lua` | the same, ZSCORE |
//! | `P:{t}:v:ROOM` | hash | presence meta: generation `g`, number `v`, last sequence of a node `s:INCARNATION` from opening the room until closing it, dialect of an open name `o:USER` | a day once empty, or with an unused room | `presence_*.lua`, gateways | `presence_*.lua` |
//! | `P:{t}:b:ROOM` | channel | the room's events | | `log_publish.lua`, `presence_*.lua`, `publish_ephemeral` | subscribed nodes |
//! | `P:{t}:a:USER` | hash | a name's owner: secret's hash `h`, proved `c`, `t` where it was taken over, `i:INCARNATION` → `live` or `grace` | swept | `name_*.lua` | `name_claim.lua`, `inbox_store.lua`, HKEYS, HGETALL, HEXISTS |
//! | `P:{t}:p:SECRET:USER` | hash | inbox meta, of a user and the hash of the secret: as log meta, images included | twice idle; an open name's after minutes | `inbox_*.lua`, `image_*.lua` | the same, `name_claim.lua` |
//! | `P:{t}:q:SECRET:USER` | stream | the inbox; entry id is `OFFSET-0`, fields: epoch `e`, ms `t`, key `i` (sender, line feed, id), other user `w`, `s` = `out` or `in`, body `d`, perhaps image `g` as in a log | idle; an open name's after minutes | `inbox_store.lua` | `inbox_*.lua`, `image_*.lua` |
//! | `P:{t}:r:SECRET:USER` | hash | key of a message → `OFFSET TS EPOCH SECRET USER` (of the other user), trimmed with the inbox | with the inbox | `inbox_store.lua` | `inbox_store.lua` |
//! | `P:{t}:x:BUCKET` | sorted set | room index: names of rooms, all scores 0; 16 buckets | pruned by its readers | gateways | `rooms` |
//! | `P:{t}:d:HASH` | hash | an image: bytes `b`, type `t`, number of its last admission `n` | with the last message, or twice idle | `image_store.lua`, `image_re*.lua` | HMGET |
//! | `P:{t}:e:HASH` | sorted set | messages' ids of an image → end of the lease, in ms | with it | `image_store.lua`, `image_re*.lua` | `image_release.lua` |
//! | `P:{t}:k:IMAGE` | string | a message's id of an image → its room; of a private message `@inboxes` and a line `SECRET USER` for the sender and, once both copies are stored, for the recipient | with the message (a private one: its last copy), or twice idle | SET, DEL | GET |
//! | `P:{i}:images` | hash | HASH → `BYTES ADMISSION`; all `bytes`, last `number` of an admission | | `image_admit.lua`, `image_forget.lua` | the same |
//! | `P:{i}:ends` | sorted set | HASH → end of the image's lease, in ms | | `image_admit.lua`, `image_count.lua`, `image_forget.lua` | `image_admit.lua` |
//! | `P:{n}:leases` | sorted set | incarnation → end of its lease, in ms | sealed | `node_*.lua` | `node_*.lua`, the directory |
//! | `P:{n}:sealed` | sorted set | incarnation → when it was sealed, in ms | forgotten | `node_*.lua` | `node_*.lua` |
//! | `P:{n}:info` | hash | incarnation → what the node publishes about itself, JSON | forgotten | `node_*.lua` | the directory |
//! | `P:{n:INC}:rooms` | set | rooms in which the incarnation may have facts | forgotten | gateways | the sweeper |
//! | `P:{n:INC}:names` | set | names that the incarnation may hold | forgotten | gateways | the sweeper |
//! | `P:{n:INC}:inbox` | channel | private messages for the users of the incarnation | | gateways | the node |
//! | `P:control` | ordinary channel | channel of a room in which something was published that no node was subscribed to | | gateways | all gateways of a cluster |
//! | `P:{n:INC}:beat` | channel | a node's heartbeat to itself through the bus | | the node | the node |

use roomcast_protocol::{RoomName, UserName};

use crate::images::ImageId;
use crate::nodes::Incarnation;
use crate::partition;
use crate::person::Person;

/// Buckets of the room index.
pub(crate) const INDEX_BUCKETS: u16 = 16;

/// Builds keys with one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    fn named(&self, kind: char, name: &str) -> String {
        let [key] = self.all_named([kind], name);
        key
    }

    /// Keys of one name. Built without a formatter, because every message needs four.
    fn all_named<const N: usize>(&self, kinds: [char; N], name: &str) -> [String; N] {
        let tag = partition::tag(partition::of(name));
        kinds.map(|kind| {
            let mut key = String::with_capacity(self.prefix.len() + tag.len() + name.len() + 6);
            key.extend([&self.prefix, ":{", tag, "}:"]);
            key.push(kind);
            key.extend([":", name]);
            key
        })
    }

    /// Log meta, log, ids: the fixed set of every log script.
    pub(crate) fn log(&self, room: &RoomName) -> [String; 3] {
        self.all_named(['m', 'l', 'i'], room.as_str())
    }

    /// Users, facts, presence meta: the fixed set of every presence script.
    pub(crate) fn presence(&self, room: &RoomName) -> [String; 3] {
        self.all_named(['u', 'f', 'v'], room.as_str())
    }

    /// Both: the fixed set of the scripts that may forget a room.
    pub(crate) fn whole_room(&self, room: &RoomName) -> [String; 6] {
        self.all_named(['u', 'f', 'v', 'm', 'l', 'i'], room.as_str())
    }

    /// The field of a room's presence meta that has a node's last sequence.
    pub(crate) fn sequence_field(node: &Incarnation) -> String {
        format!("s:{}", node.as_str())
    }

    pub(crate) fn room_channel(&self, room: &RoomName) -> String {
        self.named('b', room.as_str())
    }

    /// The room of a channel; none for other channels.
    pub(crate) fn room_of_channel(&self, channel: &str) -> Option<RoomName> {
        let rest = channel.strip_prefix(self.prefix.as_str())?.strip_prefix(":{")?;
        let (_, name) = rest.split_once("}:b:")?;
        RoomName::parse_stored(name).ok()
    }

    pub(crate) fn name(&self, user: &UserName) -> String {
        self.named('a', user.as_str())
    }

    /// Inbox meta, inbox, ids, the owner's name: the fixed set of every inbox script and of the claim of a name.
    pub(crate) fn inbox(&self, Person { user, secret }: &Person) -> [String; 4] {
        let (tag, secret) = (partition::tag(partition::of(user.as_str())), secret.to_hex());
        let [meta, inbox, ids] =
            ['p', 'q', 'r'].map(|kind| format!("{}:{{{tag}}}:{kind}:{secret}:{user}", self.prefix));
        [meta, inbox, ids, self.name(user)]
    }

    pub(crate) fn index_bucket(room: &RoomName) -> u16 {
        partition::of(room.as_str()) % INDEX_BUCKETS
    }

    pub(crate) fn index(&self, bucket: u16) -> String {
        // Buckets use partitions at equal distances over the whole range, so that they are on different nodes.
        let tag = partition::tag(bucket * (partition::PARTITIONS / INDEX_BUCKETS));
        format!("{}:{{{tag}}}:x:{bucket}", self.prefix)
    }

    /// The bytes of an image, and what refers to them: the fixed set of the scripts about one image.
    pub(crate) fn image(&self, hash: &str) -> [String; 2] {
        self.all_named(['d', 'e'], hash)
    }

    /// Where the message is that refers to an image by this id.
    pub(crate) fn image_holder(&self, id: &ImageId) -> String {
        self.named('k', &id.to_string())
    }

    /// Images and the ends of their leases: the fixed set of the scripts that count all images.
    pub(crate) fn images(&self) -> [String; 2] {
        ["images", "ends"].map(|what| format!("{}:{{i}}:{what}", self.prefix))
    }

    /// Leases, sealed, info: the fixed set of every node script.
    pub(crate) fn nodes(&self) -> [String; 3] {
        ["leases", "sealed", "info"].map(|what| format!("{}:{{n}}:{what}", self.prefix))
    }

    fn of_node(&self, node: &Incarnation, what: &str) -> String {
        format!("{}:{{n:{}}}:{what}", self.prefix, node.as_str())
    }

    pub(crate) fn node_rooms(&self, node: &Incarnation) -> String {
        self.of_node(node, "rooms")
    }

    pub(crate) fn node_names(&self, node: &Incarnation) -> String {
        self.of_node(node, "names")
    }

    pub(crate) fn node_inbox(&self, node: &Incarnation) -> String {
        self.of_node(node, "inbox")
    }

    pub(crate) fn control(&self) -> String {
        format!("{}:control", self.prefix)
    }

    pub(crate) fn heartbeat(&self, node: &Incarnation) -> String {
        self.of_node(node, "beat")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Secret;

    #[test]
    fn user_text_does_not_change_the_slot_and_is_read_back_from_a_channel() {
        let keys = Keys::new("rc1");
        for name in ["general", "a}b{c}:b:d", "чат {x}", "}:b:"] {
            let room = RoomName::parse(name).unwrap();
            let tag = format!("{{{}}}", partition::tag(partition::of(name)));
            let all =
                keys.log(&room).into_iter().chain(keys.presence(&room)).chain([keys.room_channel(&room)]);
            for key in all {
                assert_eq!(key.find('{'), key.find(&tag), "{key}");
            }
            assert_eq!(keys.room_of_channel(&keys.room_channel(&room)), Some(room));
        }
        let reserved = RoomName::reserved("all");
        assert_eq!(keys.room_of_channel(&keys.room_channel(&reserved)), Some(reserved));
        let user = UserName::parse("}a{b}:c").unwrap();
        let tag = format!("{{{}}}", partition::tag(partition::of(user.as_str())));
        for key in keys.inbox(&Person { user, secret: Secret::proved("s") }) {
            assert_eq!(key.find('{'), key.find(&tag), "{key}");
        }
        assert_eq!(keys.room_of_channel(&keys.heartbeat(&Incarnation::random())), None);
        assert_eq!(Keys::new("other").room_of_channel("rc1:{1}:b:general"), None);
    }
}
