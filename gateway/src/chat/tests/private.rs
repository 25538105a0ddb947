//! Tests of private messages. Uses the nodes and persons of `chat/tests.rs`.

use roomcast_protocol::ack::SentPrivately;
use roomcast_protocol::client::SendPrivateMessage;

use super::*;

impl Node {
    async fn tell(&self, from: &Person, to: &str, id: &str, text: &str) -> Result<SentPrivately, Refusal> {
        let message = SendPrivateMessage { to: user(to), text: text.into(), id: Some(id.into()) };
        self.sent_privately(from, Command::PrivateMessage(message)).await
    }

    /// To a user whose name is given as it was typed, in the room `r`.
    async fn tell_typed(&self, from: &Person, typed: &str) -> Result<SentPrivately, Refusal> {
        let (typed, text) = (typed.to_owned(), "psst".to_owned());
        let command = Command::PrivateMessageTo { typed, room: room("r"), text, id: None };
        self.sent_privately(from, command).await
    }

    async fn sent_privately(&self, from: &Person, command: Command) -> Result<SentPrivately, Refusal> {
        match self.execute(from, command).await? {
            Reply::SentPrivately(sent) => Ok(sent),
            _ => panic!("unexpected reply to a private message"),
        }
    }

    /// The texts that two users wrote each other.
    async fn texts(&self, reader: &Person, with: &str, before: Option<u64>) -> (Vec<String>, bool) {
        let history = History { room: None, to: Some(user(with)), before, limit: Some(2) };
        let Ok(Reply::History(page)) = self.execute(reader, Command::History(history)).await else {
            panic!("no history")
        };
        let text = |json: &serde_json::value::RawValue| {
            from_str::<PrivateMessage>(json.get()).unwrap().text.unwrap()
        };
        (page.messages.iter().map(|json| text(json)).collect(), page.more)
    }

    async fn arrives(&self, name: &str, resume: &str, since: Option<Position>) -> (Person, NameHold) {
        let auth = ConnectAuth { username: user(name), resume: Some(resume.into()), since };
        self.authenticate(auth).await.unwrap()
    }
}

async fn two_nodes() -> [Node; 2] {
    let memory = Memory::new(&Settings::default());
    [
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
    ]
}

impl Received {
    fn private(&self) -> Vec<String> {
        self.events.lock().iter().filter(|event| event.starts_with("private")).cloned().collect()
    }
}

#[tokio::test]
async fn all_devices_of_both_receive_a_private_message_once() {
    let [a, b] = two_nodes().await;
    let (ann, tab) = (a.person("ann").await, b.person("ann").await);
    let (bob, eve) = (b.person("bob").await, b.person("eve").await);
    let sent = a.tell(&ann, "bob", "m1", "psst").await.unwrap();
    assert_eq!((sent.id.as_str(), sent.offset, sent.delivered), ("m1", 1, true));
    let again = a.tell(&ann, "bob", "m1", "psst, again").await.unwrap();
    assert_eq!((&again.epoch, again.offset, again.ts), (&sent.epoch, 1, sent.ts), "it is stored once");
    b.tell(&bob, "ann", "m1", "yes?").await.unwrap();
    for person in [&ann, &tab, &bob] {
        person.received.ends_with(&["private 1 ann to bob: psst", "private 2 bob to ann: yes?"]).await;
        assert_eq!(person.received.private().len(), 2);
    }
    assert!(eve.received.private().is_empty());
    let taken = a.tell(&ann, "eve", "m1", "psst").await.unwrap_err();
    assert_eq!(taken.code, Code::IdTaken);
    assert_eq!(taken.message, "a message of yours to another user has this id");
    a.tell(&ann, "eve", "m2", "psst").await.unwrap();
    assert_eq!(a.texts(&ann, "bob", None).await, (vec!["psst".into(), "yes?".into()], false));
    assert_eq!(b.texts(&bob, "ann", None).await, (vec!["psst".into(), "yes?".into()], false));
    assert_eq!(b.texts(&bob, "eve", None).await.0, [""; 0]);
    a.tell(&ann, "bob", "m3", "!").await.unwrap();
    assert_eq!(a.texts(&ann, "bob", None).await, (vec!["yes?".into(), "!".into()], true));
    assert_eq!(a.texts(&ann, "bob", Some(2)).await, (vec!["psst".into()], false));
}

#[tokio::test]
async fn a_message_to_nobody_is_refused_and_stored_nowhere() {
    let node = Node::start().await;
    let ann = node.person("ann").await;
    assert_eq!(node.tell(&ann, "bob", "m1", "psst").await.unwrap_err().code, Code::UserOffline);
    assert_eq!(node.tell(&ann, "bob", "m1", " ").await.unwrap_err().code, Code::BadText);
    let bob = node.person("bob").await;
    assert_eq!(node.texts(&ann, "bob", None).await.0, [""; 0]);
    assert_eq!(node.texts(&bob, "ann", None).await.0, [""; 0]);
    for (room_name, to) in [(None, None), (Some(room("r")), Some(user("bob")))] {
        let history = History { room: room_name, to, before: None, limit: None };
        assert_eq!(node.code(&ann, Command::History(history)).await, Code::BadRequest);
    }
    node.tell(&ann, "ann", "m2", "to myself").await.unwrap();
    ann.received.ends_with(&["private 1 ann to ann: to myself"]).await;
    assert_eq!(ann.received.private().len(), 1);
}

#[tokio::test]
async fn a_user_who_returns_gets_what_was_missed_and_nobody_else_does() {
    let [a, b] = two_nodes().await;
    let ann = a.person("ann").await;
    let bob = b.arrives("bob", "mine", None).await;
    let first = a.tell(&ann, "bob", "m1", "one").await.unwrap();
    bob.0.received.ends_with(&["private 1 ann to bob: one"]).await;
    b.disconnect(bob, Departure::Dropped).await;
    let missed = a.tell(&ann, "bob", "m2", "two").await.unwrap();
    assert!(!missed.delivered, "in grace nobody receives it at once");
    let since = |offset| Some(Position { epoch: first.epoch.clone(), offset });

    // Bob's inbox has an epoch of its own: Ann's position means nothing in it.
    let stranger = a.arrives("bob", "mine", since(1)).await;
    stranger.0.received.ends_with(&["inbox 2 false"]).await;
    let history = Command::History(History { room: None, to: Some(user("ann")), before: None, limit: None });
    let Ok(Reply::History(page)) = a.execute(&stranger.0, history).await else { panic!("no history") };
    let last: PrivateMessage = from_str(page.messages[0].get()).unwrap();
    let mine = Position { epoch: last.epoch, offset: last.offset };
    let bob = b.arrives("bob", "mine", Some(mine.clone())).await;
    bob.0.received.ends_with(&["inbox 1 true", "private 2 ann to bob: two"]).await;
    a.tell(&ann, "bob", "m3", "three").await.unwrap();
    for device in [&stranger.0, &bob.0] {
        device.received.ends_with(&["private 3 ann to bob: three"]).await;
    }
    for (node, bob) in [(&a, stranger), (&b, bob)] {
        node.disconnect(bob, Departure::Left).await;
    }

    let thief = b.arrives("bob", "another secret", Some(mine)).await;
    thief.0.received.ends_with(&["inbox 0 false"]).await;
    assert_eq!(b.texts(&thief.0, "ann", None).await.0, [""; 0]);
    a.tell(&ann, "bob", "m4", "four").await.unwrap();
    thief.0.received.ends_with(&["private 1 ann to bob: four"]).await;
    assert_eq!(thief.0.received.private().len(), 1);
}

#[tokio::test]
async fn lost_events_of_the_bus_are_read_from_the_inbox() {
    let [a, b] = two_nodes().await;
    let (ann, bob) = (a.person("ann").await, b.person("bob").await);
    a.tell(&ann, "bob", "m1", "one").await.unwrap();
    bob.received.ends_with(&["private 1 ann to bob: one"]).await;
    // Nothing comes to this node any more.
    b.chat.store.bus.listen(&roomcast_store::Incarnation::random()).await.unwrap();
    let sent = a.tell(&ann, "bob", "m2", "two").await.unwrap();
    assert!(!sent.delivered);
    b.chat.inboxes.on_gap();
    bob.received.ends_with(&["private 2 ann to bob: two"]).await;
    a.tell(&ann, "bob", "m3", "three").await.unwrap();
    b.chat.store.bus.listen(&b.chat.node.current().unwrap()).await.unwrap();
    a.tell(&ann, "bob", "m4", "four").await.unwrap();
    bob.received.ends_with(&["private 3 ann to bob: three", "private 4 ann to bob: four"]).await;
    assert_eq!(bob.received.private().len(), 4);
    a.tell(&ann, "bob", "m4", "four").await.unwrap();
    a.tell(&ann, "bob", "m5", "five").await.unwrap();
    bob.received.ends_with(&["private 5 ann to bob: five"]).await;
    assert_eq!(bob.received.private().len(), 5, "each once");
}

#[tokio::test]
async fn a_message_between_the_claim_of_the_name_and_the_welcome_arrives() {
    let [a, b] = two_nodes().await;
    let ann = a.person("ann").await;
    for earlier in [false, true] {
        if earlier {
            let bob = b.arrives("bob", "bob", None).await;
            a.tell(&ann, "bob", "before", "before").await.unwrap();
            bob.0.received.ends_with(&["private 2 ann to bob: before"]).await;
            b.disconnect(bob, Departure::Left).await;
        }
        let auth = ConnectAuth { username: user("bob"), resume: Some("bob".into()), since: None };
        let signed_in = b.chat.sign_in(auth, None, &OnceLock::new()).await.unwrap();
        let text = format!("early {earlier}");
        if earlier {
            // Nothing comes to this node for a while, which it is told when that is over.
            b.chat.store.bus.listen(&roomcast_store::Incarnation::random()).await.unwrap();
        }
        a.tell(&ann, "bob", &text, &text).await.unwrap();
        if earlier {
            b.chat.store.bus.listen(&b.chat.node.current().unwrap()).await.unwrap();
            b.chat.inboxes.on_gap();
        }
        let (bob, name) = b.welcome(signed_in).await;
        let offset = if earlier { 3 } else { 1 };
        bob.received.ends_with(&[&format!("private {offset} ann to bob: {text}")]).await;
        assert_eq!(bob.received.private().len(), 1, "and none from before");
        b.disconnect((bob, name), Departure::Left).await;
    }
}

#[tokio::test]
async fn a_typed_name_is_that_user_or_the_only_similar_member() {
    let node = Node::start().await;
    let (ann, bob) = (node.person("ANN").await, node.person("bob").await);
    node.join(&ann, "r", None).await.unwrap();
    assert_eq!(node.tell_typed(&ann, "BOB").await.unwrap_err().code, Code::UserOffline, "not a member");
    assert_eq!(node.tell_typed(&bob, "ANN").await.unwrap_err().code, Code::NotJoined);
    node.tell_typed(&ann, "bob").await.unwrap();
    node.join(&bob, "r", None).await.unwrap();
    node.tell_typed(&ann, "BOB").await.unwrap();
    bob.received.ends_with(&["private 2 ANN to bob: psst"]).await;
    let other = node.person("Bob").await;
    node.join(&other, "r", None).await.unwrap();
    let ambiguous = node.tell_typed(&ann, "BOB").await.unwrap_err();
    assert_eq!(ambiguous.code, Code::BadUsername);
    assert_eq!(ambiguous.message, "BOB may be Bob or bob: write the name exactly");
    node.tell_typed(&ann, "Bob").await.unwrap();
    other.received.ends_with(&["private 1 ANN to Bob: psst"]).await;
    assert_eq!(node.tell_typed(&ann, "@").await.unwrap_err().code, Code::UserOffline);
}
