//! The contract of images.

use std::time::Duration;

use roomcast_protocol::image::Image;
use roomcast_protocol::{Body, Content, ImageType, RoomName};
use roomcast_store::{
    Delivery, ImageFile, ImageId, ImageOwner, Person, PublishRequest, Published, ReadLimit, Result,
    Retention, StoreError, StoredImage,
};
use tokio::time::sleep;

use crate::inbox::person;
use crate::subject::{Node, Subject, body, room, until};

/// What an image counts beyond its bytes.
const OVERHEAD: usize = 1024;

/// Only the newest message is kept.
const ONE: Retention = Retention { len: 1, age: Duration::ZERO, cap: 1, idle: Duration::from_secs(3_600) };

async fn store(node: &Node, room: &RoomName, bytes: &[u8]) -> Result<StoredImage> {
    node.images.store(ImageOwner::Room(room), ImageType::Png, bytes).await
}

/// Stores an image for a private message.
async fn store_private(node: &Node, from: &Person, bytes: &[u8]) -> Result<StoredImage> {
    node.images.store(ImageOwner::Sender(from), ImageType::Png, bytes).await
}

/// A message that refers to the image.
fn image_body(id: &str, from: &str, image: &StoredImage) -> Body {
    let url = format!("/images/{}", image.id);
    let content = Content::Image {
        image: Image { url, width: 1, height: 1, r#type: ImageType::Png, bytes: 1 },
        alt: String::new(),
    };
    Body { content, ..body(id, from) }
}

/// Sends a private message that refers to the image. Returns the body that was stored before.
async fn send(node: &Node, from: &Person, to: &Person, id: &str, image: &StoredImage) -> Option<String> {
    let body = image_body(id, from.user.as_str(), image);
    match node.inbox.send(from, &to.user, &body, Some(image)).await.unwrap() {
        Delivery::Sent { first, .. } => first,
        Delivery::Offline => panic!("{} is offline", to.user),
    }
}

/// Publishes a message that refers to the image.
async fn publish(node: &Node, room: &RoomName, id: &str, image: &StoredImage) -> Published {
    let body = image_body(id, "Ann", image);
    let request = PublishRequest { room, body: &body, image: Some(image), urgent: true };
    node.log.publish(request).await.unwrap()
}

async fn read(node: &Node, id: &ImageId) -> Option<Vec<u8>> {
    node.images.read(id).await.unwrap().map(|ImageFile { image_type, bytes }| {
        assert_eq!(image_type, ImageType::Png);
        bytes.to_vec()
    })
}

pub(crate) async fn an_image_is_read_from_any_node_once_its_message_is_stored(subject: Subject) {
    let (node, other, room) = (subject.node().await, subject.node().await, room("crabs"));
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let image = store(&node, &room, &bytes).await.unwrap();
    assert_eq!(read(&other, &image.id).await, None, "no message refers to it");
    publish(&node, &room, "m1", &image).await;
    assert_eq!(read(&node, &image.id).await.unwrap(), bytes);
    assert_eq!(read(&other, &image.id).await.unwrap(), bytes);
    let unknown = ImageId::parse(&"0".repeat(32)).unwrap();
    assert_eq!(read(&node, &unknown).await, None);
}

pub(crate) async fn equal_bytes_are_kept_once_and_all_are_bounded(subject: Subject) {
    let subject = subject.holding_images(2 * (OVERHEAD + 1_000));
    let (node, rooms) = (subject.node().await, [room("a"), room("b")]);
    let first = store(&node, &rooms[0], &[1; 1_000]).await.unwrap();
    let again = store(&node, &rooms[1], &[1; 1_000]).await.unwrap();
    assert_ne!(first.id, again.id);
    publish(&node, &rooms[0], "m", &first).await;
    publish(&node, &rooms[1], "m", &again).await;
    let second = store(&node, &rooms[0], &[2; 1_000]).await.unwrap();
    assert!(matches!(store(&node, &rooms[0], &[3; 1]).await, Err(StoreError::ImagesFull)));
    assert!(store(&node, &rooms[0], &[1; 1_000]).await.is_ok(), "bytes that are there need no room");
    node.images.discard(&second).await;
    drop(second);
    assert!(store(&node, &rooms[0], &[3; 1_000]).await.is_ok(), "what was discarded makes room");
    assert_eq!(read(&node, &first.id).await.unwrap(), [1; 1_000]);
    assert_eq!(read(&node, &again.id).await.unwrap(), [1; 1_000]);
}

pub(crate) async fn an_image_goes_with_the_last_message_that_refers_to_it(subject: Subject) {
    let subject = subject.keeping(ONE).holding_images(OVERHEAD + 1_000);
    let (node, rooms) = (subject.node().await, [room("a"), room("b")]);
    let first = store(&node, &rooms[0], &[1; 1_000]).await.unwrap();
    publish(&node, &rooms[0], "m", &first).await;
    let second = store(&node, &rooms[1], &[1; 1_000]).await.unwrap();
    publish(&node, &rooms[1], "m", &second).await;
    let ids = [first.id.clone(), second.id.clone()];
    drop((first, second));

    node.publish(&rooms[0], "text", "Ann").await.unwrap();
    until("the first one is gone", async || read(&node, &ids[0]).await.is_none()).await;
    assert_eq!(read(&node, &ids[1]).await.unwrap(), [1; 1_000], "the other message keeps it");
    assert!(matches!(store(&node, &rooms[0], &[2; 1]).await, Err(StoreError::ImagesFull)));

    node.publish(&rooms[1], "text", "Ann").await.unwrap();
    until("the second one is gone", async || read(&node, &ids[1]).await.is_none()).await;
    assert!(store(&node, &rooms[0], &[2; 1_000]).await.is_ok(), "its bytes are gone, too");
}

pub(crate) async fn a_message_that_is_stored_again_keeps_its_first_image(subject: Subject) {
    let (node, room) = (subject.node().await, room("again"));
    let first = store(&node, &room, b"one").await.unwrap();
    let stored = publish(&node, &room, "m", &first).await;
    let second = store(&node, &room, b"one").await.unwrap();
    let again = publish(&node, &room, "m", &second).await;
    assert_eq!((again.duplicate, &again.position), (true, &stored.position));
    node.images.discard(&second).await;
    assert_eq!(read(&node, &second.id).await, None);
    assert_eq!(read(&node, &first.id).await.unwrap(), b"one");
}

pub(crate) async fn a_room_in_use_keeps_its_images_and_an_idle_one_does_not(subject: Subject) {
    let idle = Duration::from_millis(500);
    let subject = subject.keeping(Retention { idle, ..Retention::default() }).holding_images(OVERHEAD + 3);
    let (node, room) = (subject.node().await, room("used"));
    let image = store(&node, &room, b"one").await.unwrap();
    publish(&node, &room, "m", &image).await;
    let id = image.id.clone();
    drop(image);
    // For longer than any lease.
    for _ in 0..25 {
        node.log.touch(&room).await.unwrap();
        assert!(read(&node, &id).await.is_some());
        sleep(Duration::from_millis(50)).await;
    }
    until("the room and its image are gone", async || read(&node, &id).await.is_none()).await;
    until("its bytes are gone", async || store(&node, &room, b"two").await.is_ok()).await;
}

pub(crate) async fn a_private_image_stays_as_long_as_one_of_both_inboxes_has_it(mut subject: Subject) {
    subject.settings.inbox_len = 1;
    let subject = subject.holding_images(OVERHEAD + 1_000);
    let ((node, by), other) = (Node::listening(&subject).await, subject.node().await);
    let (ann, bob, eve) = (person("Ann", "a"), person("bob", "b"), person("eve", "e"));
    for person in [&ann, &bob, &eve] {
        node.connect(person, &by).await;
    }
    for [first, last] in [[&ann, &bob], [&bob, &ann]] {
        let image = store_private(&node, &ann, &[1; 1_000]).await.unwrap();
        let id = image.id.clone();
        assert_eq!(read(&other, &id).await, None, "no message refers to it");
        assert_eq!(send(&node, &ann, &bob, &format!("to {}", last.user), &image).await, None);
        drop(image);
        assert_eq!(read(&other, &id).await.unwrap(), [1; 1_000]);
        node.told(&eve, first.user.as_str(), &format!("first {}", first.user)).await;
        assert_eq!(read(&other, &id).await.unwrap(), [1; 1_000], "the other inbox has it");
        assert!(matches!(store_private(&node, &eve, &[2; 1]).await, Err(StoreError::ImagesFull)));
        node.told(&eve, last.user.as_str(), &format!("last {}", last.user)).await;
        until("it is gone", async || read(&other, &id).await.is_none()).await;
        // Its bytes are gone, too.
        let next = store_private(&node, &eve, &[2; 1_000]).await.unwrap();
        node.images.discard(&next).await;
    }
    let image = store_private(&node, &ann, &[1; 1_000]).await.unwrap();
    let id = image.id.clone();
    send(&node, &ann, &ann, "to myself", &image).await;
    drop(image);
    assert!(read(&node, &id).await.is_some());
    node.told(&eve, "Ann", "after it").await;
    until("it is gone", async || read(&node, &id).await.is_none()).await;
    assert!(store_private(&node, &eve, &[2; 1_000]).await.is_ok());
}

pub(crate) async fn a_private_message_that_is_sent_again_keeps_its_first_image(mut subject: Subject) {
    subject.settings.inbox_len = 1;
    let subject = subject.keeping(Retention::default());
    let (node, by) = Node::listening(&subject).await;
    let (ann, bob, eve) = (person("Ann", "a"), person("bob", "b"), person("eve", "e"));
    for person in [&ann, &bob, &eve] {
        node.connect(person, &by).await;
    }
    let first = store_private(&node, &ann, b"one").await.unwrap();
    assert_eq!(send(&node, &ann, &bob, "m", &first).await, None);
    assert_eq!(
        send(&node, &ann, &bob, "m", &first).await.as_ref(),
        Some(&encoded(&first)),
        "an answer was lost"
    );
    // The recipient's copy is missing, as where a node died between the two.
    node.told(&eve, "bob", "another").await;
    let second = store_private(&node, &ann, b"one").await.unwrap();
    assert_eq!(send(&node, &ann, &bob, "m", &second).await.as_ref(), Some(&encoded(&first)));
    node.images.discard(&second).await;
    let position = node.inbox.head(&bob).await.unwrap();
    let page = node.inbox.conversation(&bob, &ann.user, None, ReadLimit::entries(5)).await.unwrap();
    let [entry] = &page.entries[..] else { panic!("{page:?}") };
    assert_eq!((&entry.entry.body, entry.entry.offset), (&encoded(&first), position.offset), "completed");
    assert_eq!(read(&node, &second.id).await, None);
    node.told(&eve, "Ann", "one more").await;
    assert_eq!(read(&node, &first.id).await.unwrap(), b"one", "the recipient has it");
}

fn encoded(image: &StoredImage) -> String {
    image_body("m", "Ann", image).encode().unwrap()
}

pub(crate) async fn an_inbox_in_use_keeps_its_images_and_an_idle_one_does_not(subject: Subject) {
    let idle = Duration::from_millis(500);
    let subject = subject.keeping(Retention { idle, ..Retention::default() }).holding_images(OVERHEAD + 3);
    let (node, by) = Node::listening(&subject).await;
    let (ann, bob) = (person("Ann", "a"), person("bob", "b"));
    node.connect(&ann, &by).await;
    node.connect(&bob, &by).await;
    let image = store_private(&node, &ann, b"one").await.unwrap();
    send(&node, &ann, &bob, "m", &image).await;
    let id = image.id.clone();
    drop(image);
    // For longer than any lease, in one of the inboxes.
    for _ in 0..25 {
        node.inbox.head(&bob).await.unwrap();
        assert!(read(&node, &id).await.is_some());
        sleep(Duration::from_millis(50)).await;
    }
    until("both inboxes and the image are gone", async || read(&node, &id).await.is_none()).await;
    until("its bytes are gone", async || store_private(&node, &ann, b"two").await.is_ok()).await;
}
