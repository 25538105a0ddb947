//! `send_image`: what it stores, and what it refuses.

use bytes::Bytes;
use roomcast_protocol::ack::ImageSent;
use roomcast_protocol::client::SendPrivateMessage;

use super::*;

/// A PNG that declares this size.
fn png(width: u32, height: u32) -> Bytes {
    let [width, height] = [width, height].map(u32::to_be_bytes);
    [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &width, &height, &[8, 6, 0, 0, 0]].concat().into()
}

fn to(name: &str, image: impl Into<Bytes>, id: Option<&str>) -> SendImage {
    let id = id.map(str::to_owned);
    SendImage { room: Some(room(name)), to: None, image: image.into(), alt: None, id }
}

fn to_user(name: &str, image: impl Into<Bytes>, id: Option<&str>) -> SendImage {
    SendImage { room: None, to: Some(Recipient::User(user(name))), ..to("r", image, id) }
}

async fn tell(node: &Node, from: &Person, to: &str, id: &str) -> Result<(), Refusal> {
    let message = SendPrivateMessage { to: user(to), text: "text".into(), id: Some(id.into()) };
    node.execute(from, Command::PrivateMessage(message)).await.map(drop)
}

async fn send(node: &Node, person: &Person, image: SendImage) -> Result<ImageSent, Refusal> {
    match node.execute(person, Command::SendImage(image)).await? {
        Reply::ImageSent(sent) => Ok(sent),
        _ => panic!("unexpected reply to an image"),
    }
}

async fn read(node: &Node, url: &str) -> Option<Vec<u8>> {
    let id = url.strip_prefix("https://chat.example/images/").unwrap();
    let id = roomcast_store::ImageId::parse(id).unwrap();
    node.chat.image(&id).await.unwrap().map(|image| image.bytes.to_vec())
}

#[tokio::test]
async fn an_image_is_a_message_and_is_read_by_its_url() {
    let node = Node::start().await;
    let (ann, ben) = (node.person("ann").await, node.person("ben").await);
    node.join(&ann, "r", None).await.unwrap();
    node.join(&ben, "r", None).await.unwrap();
    let first = send(&node, &ann, to("r", png(3, 2), Some("id"))).await.unwrap();
    assert_eq!((first.offset, first.id.as_str(), first.room.clone()), (1, "id", Some(room("r"))));
    assert_eq!(read(&node, &first.url).await.unwrap(), png(3, 2));
    let again = send(&node, &ann, to("r", png(3, 2), Some("id"))).await.unwrap();
    assert_eq!(again, first, "the same id is stored once");
    let other = send(&node, &ann, to("r", png(3, 2), None)).await.unwrap();
    assert_ne!(other.url, first.url, "each message has its own URL");
    ben.received.ends_with(&["message 1", "message 2"]).await;
}

#[tokio::test]
async fn an_id_of_another_message_is_refused() {
    let node = Node::start().await;
    let (ann, ben) = (node.person("ann").await, node.person("ben").await);
    node.join(&ann, "r", None).await.unwrap();
    node.join(&ben, "r", None).await.unwrap();
    node.send(&ann, "text", Some("id")).await.unwrap();
    for person in [&ann, &ben] {
        let refused = send(&node, person, to("r", png(1, 1), Some("id"))).await.unwrap_err();
        assert_eq!(refused.code, Code::IdTaken);
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_image_is_refused_by_its_code() {
    let node = Node::start().await;
    let ann = node.person("ann").await;
    node.join(&ann, "r", None).await.unwrap();
    let private = to_user("ben", png(1, 1), None);
    let nowhere = SendImage { room: None, ..to("r", png(1, 1), None) };
    let both = SendImage { room: Some(room("r")), ..to_user("ann", png(1, 1), None) };
    let described = SendImage { alt: Some("x".repeat(1_001)), ..to("r", png(1, 1), None) };
    for (image, code) in [
        (private, Code::UserOffline),
        (to_user("ann", "<svg/>", None), Code::BadImage),
        (nowhere, Code::BadRequest),
        (both, Code::BadRequest),
        (described, Code::BadText),
        (to("r", vec![0; 1_001], None), Code::ImageTooLarge),
        (to("r", "<svg/>", None), Code::BadImage),
        (to("r", png(60_000, 60_000), None), Code::ImageDimensions),
        (to("r", png(1, 1), Some("")), Code::BadId),
        (to("elsewhere", png(1, 1), None), Code::NotJoined),
    ] {
        assert_eq!(send(&node, &ann, image).await.unwrap_err().code, code);
    }
}

#[tokio::test]
async fn a_private_image_is_read_as_long_as_one_of_both_has_its_message() {
    let settings = Settings { inbox_len: 1, ..Settings::default() };
    let memory = Memory::new(&settings);
    let a = Node::start_on(&memory, GRACE, Duration::ZERO).await;
    let b = Node::start_on(&memory, GRACE, Duration::ZERO).await;
    let (ann, tab) = (a.person("ann").await, b.person("ann").await);
    let (ben, eve) = (b.person("ben").await, b.person("eve").await);
    let first = send(&a, &ann, to_user("ben", png(3, 2), Some("id"))).await.unwrap();
    assert_eq!((first.id.as_str(), first.offset, first.delivered, &first.room), ("id", 1, Some(true), &None));
    for person in [&ann, &tab, &ben] {
        person.received.ends_with(&["private 1 ann to ben: "]).await;
    }
    let again = send(&b, &tab, to_user("ben", png(1, 1), Some("id"))).await.unwrap();
    assert_eq!(again, first, "the same id is stored once");
    assert_eq!(read(&b, &first.url).await.unwrap(), png(3, 2));
    assert_eq!(tell(&a, &ann, "eve", "id").await.unwrap_err().code, Code::IdTaken);
    tell(&b, &eve, "ann", "m1").await.unwrap();
    assert_eq!(read(&a, &first.url).await.unwrap(), png(3, 2), "the recipient has it");
    tell(&b, &eve, "ben", "m2").await.unwrap();
    assert_eq!(read(&a, &first.url).await, None);

    tell(&b, &ben, "eve", "text").await.unwrap();
    let refused = send(&b, &ben, to_user("eve", png(1, 1), Some("text"))).await.unwrap_err();
    assert_eq!(refused.code, Code::IdTaken, "that of a text");
}

#[tokio::test]
async fn a_private_image_to_a_name_as_it_was_typed() {
    let node = Node::start().await;
    let (ann, ben) = (node.person("ann").await, node.person("Ben").await);
    let typed = |name: &str| {
        let to_typed = Recipient::Typed { name: name.into(), room: room("r") };
        SendImage { room: None, to: Some(to_typed), ..to("r", png(1, 1), None) }
    };
    assert_eq!(send(&node, &ann, typed("BEN")).await.unwrap_err().code, Code::NotJoined);
    for person in [&ann, &ben] {
        node.join(person, "r", None).await.unwrap();
    }
    let sent = send(&node, &ann, typed("BEN")).await.unwrap();
    ben.received.ends_with(&["private 1 ann to Ben: "]).await;
    assert!(read(&node, &sent.url).await.is_some());
    assert_eq!(send(&node, &ann, typed("eve")).await.unwrap_err().code, Code::UserOffline);
}
