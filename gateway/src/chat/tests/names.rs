//! Tests of who may have a name. Uses the nodes and persons of `chat/tests.rs`.

use roomcast_store::Secret;

use super::*;

fn code<T>(result: Result<T, Refusal>) -> Option<Code> {
    result.err().map(|refusal| refusal.code)
}

#[tokio::test]
async fn a_name_that_was_taken_with_a_cookie_is_proved() {
    let memory = Memory::new(&Settings::default());
    let (one, two) = (
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
        Node::start_on(&memory, GRACE, Duration::ZERO).await,
    );
    let (cookie, other) = (Secret::proved("cookie"), Secret::proved("other"));
    let tab = one.chat.take_name(&user("gil"), Some(&cookie)).await.unwrap();
    let another_tab = two.chat.take_name(&user("gil"), Some(&cookie)).await.unwrap();
    assert_eq!(code(one.chat.take_name(&user("gil"), Some(&other)).await), Some(Code::UsernameTaken));
    assert_eq!(code(one.chat.take_name(&user("gil"), None).await), Some(Code::UsernameTaken));
    assert!(matches!(two.sign_in("gil", "secret").await, Err(ClaimError::Refused(_))));
    another_tab.release(Departure::Dropped).await;
    tab.release(Departure::Dropped).await;
    assert_eq!(code(one.chat.take_name(&user("gil"), None).await), Some(Code::UsernameTaken), "in grace");
    let _back = one.chat.take_name(&user("gil"), Some(&cookie)).await.unwrap();
}

#[tokio::test]
async fn a_cookie_signs_in_unless_the_client_chose_a_secret() {
    let node = Node::start().await;
    let cookie = Secret::proved("cookie");
    let sign_in = async |name: &str, resume: Option<&str>| {
        let resume = resume.map(str::to_owned);
        let auth = ConnectAuth { username: user(name), resume, since: None };
        node.chat.sign_in(auth, Some(&cookie), &OnceLock::new()).await.map(|signed_in| signed_in.name)
    };
    let _by_cookie = sign_in("ann", None).await.ok().unwrap();
    let _tab = node.chat.take_name(&user("ann"), Some(&cookie)).await.unwrap();
    let _by_secret = sign_in("ben", Some("secret")).await.ok().unwrap();
    assert!(node.sign_in("ben", "secret").await.is_ok(), "the secret proves it");
    assert_eq!(code(node.chat.take_name(&user("ben"), Some(&cookie)).await), Some(Code::UsernameTaken));
}

#[tokio::test]
async fn the_name_of_the_server_is_nobodys() {
    let node = Node::start().await;
    let Err(ClaimError::Refused(refusal)) = node.sign_in("system", "secret").await else {
        panic!("a user may not be called like the server");
    };
    assert_eq!(refusal.code, Code::BadUsername);
    for cookie in [None, Some(&Secret::proved("cookie"))] {
        assert_eq!(code(node.chat.take_name(&user("SYSTEM"), cookie).await), Some(Code::BadUsername));
    }
}
