//! The contract of inboxes.

use std::time::Duration;

use roomcast_protocol::{Body, Epoch, Position};
use roomcast_store::{
    Claim, Delivery, Hold, InboxEntry, Incarnation, Person, Published, ReadLimit, Result, Retention, Secret,
    StoreError,
};
use tokio::time::sleep;

use crate::subject::{Node, Subject, body, until, user};

const ALL: ReadLimit = ReadLimit::entries(1_000);

pub(crate) fn person(name: &str, secret: &str) -> Person {
    Person { user: user(name), secret: Secret::proved(secret) }
}

impl Node {
    /// Connects a person to this node.
    pub(crate) async fn connect(&self, person: &Person, by: &Incarnation) {
        let claim = self.names.claim(&person.user, &person.secret, by, &[]).await.unwrap();
        assert!(claim.is_granted());
    }

    /// A node that hears of the private messages for its users.
    pub(crate) async fn listening(subject: &Subject) -> (Self, Incarnation) {
        let (node, by) = (subject.node().await, Incarnation::random());
        until("the node listens", async || node.bus.listen(&by).await.is_ok()).await;
        node.bus.listen(&by).await.unwrap();
        assert_eq!(node.bus.subscriptions(), 0, "of rooms");
        (node, by)
    }

    async fn tell(&self, from: &Person, to: &str, id: &str) -> Result<Delivery> {
        self.inbox.send(from, &user(to), &body(id, from.user.as_str()), None).await
    }

    pub(crate) async fn told(&self, from: &Person, to: &str, id: &str) -> (Published, bool) {
        match self.tell(from, to, id).await.unwrap() {
            Delivery::Sent { published, delivered, .. } => (published, delivered),
            Delivery::Offline => panic!("{to} is offline"),
        }
    }

    async fn all(&self, person: &Person) -> Vec<InboxEntry> {
        let head = self.inbox.head(person).await.unwrap();
        let start = Position { offset: 0, ..head.clone() };
        let missed = self.inbox.since(person, &start, ALL).await.unwrap();
        assert_eq!(missed.head, head);
        missed.entries
    }
}

/// Offset, sender, id and recipient of each.
fn show(entries: &[InboxEntry]) -> Vec<String> {
    let one = |InboxEntry { entry, to }: &InboxEntry| {
        let Body { id, user, .. } = Body::parse(&entry.body).unwrap();
        format!("{} {user} {id} {to}", entry.offset)
    };
    entries.iter().map(one).collect()
}

pub(crate) async fn a_private_message_is_in_both_inboxes_and_reaches_both_nodes(subject: Subject) {
    let ((here, a), (there, b)) = (Node::listening(&subject).await, Node::listening(&subject).await);
    let (ann, bob) = (person("Ann B.", "a"), person("bob", "b"));
    here.connect(&ann, &a).await;
    there.connect(&ann, &b).await;
    there.connect(&bob, &b).await;
    let (first, delivered) = here.told(&ann, "bob", "a\nb c").await;
    assert!(delivered && !first.duplicate);
    there.told(&bob, "Ann B.", "a\nb c").await;
    for (node, person) in [(&here, &ann), (&there, &ann), (&there, &bob)] {
        until("both are heard", async || node.heard.private(person).len() == 2).await;
        let heard: Vec<_> =
            node.heard.private(person).into_iter().map(|event| event.entry.unwrap()).collect();
        assert_eq!(heard, node.all(person).await);
        assert_eq!(show(&heard), ["1 Ann B. a\nb c bob", "2 bob a\nb c Ann B."]);
        assert_eq!(heard[0].entry.ts, first.ts, "the same in both inboxes");
    }
    assert_eq!(here.all(&ann).await[0].entry.epoch, first.position.epoch);
    assert_ne!(here.all(&bob).await[0].entry.epoch, first.position.epoch);
    assert!(here.heard.private(&bob).is_empty());
    let (alone, _) = here.told(&ann, "Ann B.", "mine").await;
    assert_eq!(alone.position.offset, 3, "a message to oneself is one");
    until("it is heard", async || there.heard.private(&ann).len() == 3).await;
}

pub(crate) async fn a_repeated_message_is_stored_once_and_completed(subject: Subject) {
    let (node, by) = Node::listening(&subject).await;
    let (ann, bob, eve) = (person("Ann", "a"), person("bob", "b"), person("eve", "e"));
    for person in [&ann, &bob, &eve] {
        node.connect(person, &by).await;
    }
    let (first, _) = node.told(&ann, "bob", "m").await;
    let (again, delivered) = node.told(&ann, "bob", "m").await;
    assert_eq!((&again.position, again.ts, again.duplicate), (&first.position, first.ts, true));
    assert!(delivered);
    node.told(&eve, "bob", "m").await;
    assert!(matches!(node.tell(&ann, "eve", "m").await, Err(StoreError::IdTaken)), "to another user");
    until("all are heard", async || node.heard.private(&bob).len() == 3).await;
    let events = node.heard.private(&bob);
    assert!(events[1].entry.is_none() && events[1].position == events[0].position, "it must be read");
    assert_eq!(show(&node.all(&bob).await), ["1 Ann m bob", "2 eve m bob"]);

    node.names.release(&bob.user, &bob.secret, &by).await.unwrap();
    let (again, delivered) = node.told(&ann, "bob", "m").await;
    assert_eq!((again.position, delivered), (first.position, false), "also where the recipient is gone");
    assert_eq!(node.all(&ann).await.len(), 1);
    assert_eq!(node.all(&bob).await.len(), 2);
}

pub(crate) async fn a_message_to_an_offline_user_is_stored_nowhere(subject: Subject) {
    let (node, by) = Node::listening(&subject).await;
    let (ann, bob) = (person("Ann", "a"), person("bob", "b"));
    node.connect(&ann, &by).await;
    assert_eq!(node.tell(&ann, "bob", "m").await.unwrap(), Delivery::Offline);
    assert!(node.all(&ann).await.is_empty() && node.all(&bob).await.is_empty());
    node.connect(&bob, &by).await;
    node.names.grace(&bob.user, &bob.secret, &by).await.unwrap();
    let (first, delivered) = node.told(&ann, "bob", "m").await;
    assert!(!delivered, "a user in grace is online, and nobody is there to receive it");
    assert_eq!((first.position.offset, node.all(&bob).await.len()), (1, 1));
    node.names.release(&bob.user, &bob.secret, &by).await.unwrap();
    assert_eq!(node.tell(&ann, "bob", "n").await.unwrap(), Delivery::Offline);
    // Its node does not listen.
    node.connect(&bob, &Incarnation::random()).await;
    assert!(!node.told(&ann, "bob", "n").await.1);
}

pub(crate) async fn an_inbox_belongs_to_a_person_and_not_to_a_name(subject: Subject) {
    let (node, by) = Node::listening(&subject).await;
    let (ann, bob, thief) = (person("Ann", "a"), person("bob", "b"), person("bob", "other"));
    node.connect(&ann, &by).await;
    node.connect(&bob, &by).await;
    node.told(&ann, "bob", "m").await;
    let position = node.inbox.head(&bob).await.unwrap();
    node.names.release(&bob.user, &bob.secret, &by).await.unwrap();
    node.connect(&thief, &by).await;
    assert!(node.inbox.since(&thief, &position, ALL).await.unwrap().lost);
    assert!(node.inbox.conversation(&thief, &ann.user, None, ALL).await.unwrap().entries.is_empty());
    node.told(&ann, "bob", "n").await;
    assert_ne!(node.inbox.head(&thief).await.unwrap().epoch, position.epoch);
    assert_eq!(show(&node.all(&thief).await), ["1 Ann n bob"]);
    assert_eq!(
        node.tell(&ann, "bob", "m").await.unwrap(),
        Delivery::Sent {
            published: Published {
                position: node.all(&ann).await[0].position(),
                ts: node.all(&ann).await[0].entry.ts,
                duplicate: true
            },
            delivered: false,
            first: Some(node.all(&ann).await[0].entry.body.clone()),
        }
    );
    node.names.release(&thief.user, &thief.secret, &by).await.unwrap();
    node.connect(&bob, &by).await;
    assert_eq!(show(&node.all(&bob).await), ["1 Ann m bob"], "the former owner's is as it was");
    until("each hears its own", async || node.heard.private(&thief).len() == 1).await;
    assert_eq!(node.heard.private(&bob).len(), 1);
}

pub(crate) async fn a_claim_tells_where_the_inbox_ends(subject: Subject) {
    let (node, by) = Node::listening(&subject).await;
    let (ann, bob) = (person("Ann", "a"), person("bob", "b"));
    let claim = async |person: &Person| {
        let claim = node.names.claim(&person.user, &person.secret, &by, &[]).await.unwrap();
        let Claim::Granted { inbox } = claim else { panic!("taken") };
        inbox
    };
    assert_eq!(claim(&ann).await.unwrap().offset, 0);
    assert_eq!(claim(&bob).await.unwrap().offset, 0);
    for id in ["m", "n"] {
        node.told(&ann, "bob", id).await;
    }
    let end = claim(&bob).await.unwrap();
    assert_eq!((end.offset, &end), (2, &node.inbox.head(&bob).await.unwrap()));
    let thief = person("bob", "other");
    let taken = node.names.claim(&thief.user, &thief.secret, &Incarnation::random(), &[]).await.unwrap();
    assert!(!taken.is_granted());
    let written = node.names.reclaim(&bob.user, &bob.secret, &by, Hold::Grace).await.unwrap();
    assert!(matches!(written, Claim::Granted { .. }));
    node.names.release(&bob.user, &bob.secret, &by).await.unwrap();
    assert_eq!(claim(&thief).await.unwrap().offset, 0, "another person's inbox");
}

trait Place {
    fn position(&self) -> Position;
}

impl Place for InboxEntry {
    fn position(&self) -> Position {
        Position { epoch: self.entry.epoch.clone(), offset: self.entry.offset }
    }
}

pub(crate) async fn an_open_name_is_online_only_while_connected(subject: Subject) {
    let (node, by) = Node::listening(&subject).await;
    let ann = person("Ann", "a");
    let open = Person { user: user("guest"), secret: Secret::open("made up") };
    node.connect(&ann, &by).await;
    node.connect(&open, &by).await;
    assert!(node.told(&ann, "guest", "m").await.1);
    assert!(node.told(&open, "Ann", "n").await.1);
    assert_eq!(show(&node.all(&open).await), ["1 Ann m guest", "2 guest n Ann"]);
    node.names.grace(&open.user, &open.secret, &by).await.unwrap();
    assert_eq!(
        node.tell(&ann, "guest", "o").await.unwrap(),
        Delivery::Offline,
        "an open name in grace is nobody's"
    );
}

pub(crate) async fn what_a_reader_missed_is_whole_or_lost(mut subject: Subject) {
    subject.settings.inbox_len = 5;
    let subject = subject.keeping(Retention::default());
    let (node, by) = Node::listening(&subject).await;
    let (ann, bob) = (person("Ann", "a"), person("bob", "b"));
    node.connect(&ann, &by).await;
    node.connect(&bob, &by).await;
    let since = async |position: &Position, limit| node.inbox.since(&bob, position, limit).await.unwrap();
    let none = node.inbox.head(&bob).await.unwrap();
    assert_eq!(none.offset, 0);
    assert!(!since(&none, ALL).await.lost, "nothing was there, and nothing is");
    node.told(&ann, "bob", "m1").await;
    let first = since(&none, ALL).await;
    assert_eq!(
        (first.lost, show(&first.entries)),
        (false, vec!["1 Ann m1 bob".to_owned()]),
        "the first ever"
    );
    for id in ["m2", "m3", "m4"] {
        node.told(&ann, "bob", id).await;
    }
    let missed = since(&first.head, ALL).await;
    assert!(!missed.lost && missed.is_complete());
    assert_eq!(show(&missed.entries), ["2 Ann m2 bob", "3 Ann m3 bob", "4 Ann m4 bob"]);
    let part = since(&first.head, ReadLimit { entries: 1_000, bytes: 1 }).await;
    assert!(!part.lost && !part.is_complete());
    assert_eq!(show(&part.entries), ["2 Ann m2 bob"]);
    assert!(since(&missed.head, ALL).await.entries.is_empty());
    assert!(!since(&missed.head, ALL).await.lost);
    for position in [
        Position { offset: 5, ..missed.head.clone() },
        Position { epoch: Epoch::new("other"), ..missed.head.clone() },
    ] {
        let refused = since(&position, ALL).await;
        assert!(refused.lost && refused.entries.is_empty() && refused.head == missed.head, "{position:?}");
    }
    for number in 5..=8 {
        node.told(&ann, "bob", &format!("m{number}")).await;
    }
    assert!(since(&first.head, ALL).await.lost, "trimmed");
    assert_eq!(since(&Position { offset: 3, ..missed.head }, ALL).await.entries.len(), 5);
    let (again, _) = node.told(&ann, "bob", "m2").await;
    assert_eq!(
        (again.position.offset, again.duplicate),
        (9, false),
        "an id is known as long as its message is kept"
    );
}

pub(crate) async fn a_conversation_is_read_in_pages(subject: Subject) {
    let (node, by) = Node::listening(&subject).await;
    let (ann, bob, eve) = (person("Ann", "a"), person("bob", "b"), person("eve", "e"));
    for person in [&ann, &bob, &eve] {
        node.connect(person, &by).await;
    }
    // More of another conversation than is read at once.
    for number in 0..70 {
        if number % 35 == 0 {
            node.told(&ann, "bob", &format!("to bob {number}")).await;
            node.told(&bob, "Ann", &format!("from bob {number}")).await;
        }
        node.told(&eve, "Ann", &format!("from eve {number}")).await;
    }
    let page = async |before, entries| {
        let limit = ReadLimit::entries(entries);
        let page = node.inbox.conversation(&ann, &bob.user, before, limit).await.unwrap();
        (show(&page.entries), page.more)
    };
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let newest = texts(&["38 Ann to bob 35 bob", "39 bob from bob 35 Ann"]);
    assert_eq!(page(None, 2).await, (newest, true));
    let older = texts(&["1 Ann to bob 0 bob", "2 bob from bob 0 Ann"]);
    assert_eq!(page(Some(38), 2).await, (older.clone(), false));
    assert_eq!(page(Some(38), 1).await, (texts(&["2 bob from bob 0 Ann"]), true));
    assert_eq!(page(Some(1), 5).await, (Vec::new(), false));
    assert_eq!(page(Some(0), 5).await, (Vec::new(), false));
    let cut = ReadLimit { entries: 5, bytes: 1 };
    let cut = node.inbox.conversation(&ann, &bob.user, None, cut).await.unwrap();
    assert_eq!((cut.entries.len(), cut.more), (1, true));
    let with_nobody = node.inbox.conversation(&ann, &user("nobody"), None, ALL).await.unwrap();
    assert!(with_nobody.entries.is_empty() && !with_nobody.more);
}

pub(crate) async fn an_inbox_that_is_not_used_expires(subject: Subject) {
    let idle = Duration::from_millis(400);
    let subject = subject.keeping(Retention { idle, ..Retention::default() });
    let (node, by) = Node::listening(&subject).await;
    let (ann, bob) = (person("Ann", "a"), person("bob", "b"));
    node.connect(&ann, &by).await;
    node.connect(&bob, &by).await;
    node.told(&ann, "bob", "m").await;
    let position = node.inbox.head(&bob).await.unwrap();
    let begin = Position { offset: 0, ..position.clone() };
    for _ in 0..4 {
        sleep(idle / 2).await;
        assert_eq!(node.inbox.head(&bob).await.unwrap(), position, "reading it is use");
    }
    sleep(idle + idle / 2).await;
    assert!(node.inbox.since(&bob, &begin, ALL).await.unwrap().lost, "it is known that there was a message");
    sleep(3 * idle).await;
    assert_eq!(node.inbox.head(&bob).await.unwrap().offset, 0);
    assert!(node.inbox.since(&bob, &position, ALL).await.unwrap().lost);
}
