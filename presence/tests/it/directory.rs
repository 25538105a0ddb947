//! The answers of the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;

use serde_json::{Value, json};

use crate::support::{Cluster, LONG, Redis, Service, encode, request, room, user};

/// Every page of a list.
async fn pages(service: &Service, path: &str, list: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..200 {
        let from = cursor.map(|c| format!("&cursor={}", encode(&c))).unwrap_or_default();
        let page = service.json(&format!("{path}?limit={limit}{from}")).await;
        let items = page[list].as_array().unwrap();
        assert!(items.len() <= limit, "{page}");
        all.extend(items.iter().cloned());
        match page["cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return all,
        }
    }
    panic!("the pages of {path} do not end");
}

#[tokio::test]
async fn rooms_and_their_users_in_pages() {
    let redis = Redis::start();
    let (service, cluster) = (Service::ready(&redis).await, Cluster::join(&redis).await);
    assert_eq!(service.json("/rooms").await, json!({ "rooms": [] }));

    let (a, b) = (cluster.node("a", LONG).await, cluster.node("b", LONG).await);
    let mut expected = BTreeMap::new();
    for i in 0..23 {
        let (name, users) = (room(&format!("room {i}")), (0..=i % 4).map(|u| user(&format!("u{u}"))));
        cluster.put(&a, &name, 1, &users.collect::<Vec<_>>()).await;
        expected.insert(name.to_string(), i % 4 + 1);
    }
    // The same user through another node counts once.
    cluster.put(&b, &room("room 0"), 1, &[user("u0")]).await;
    for limit in [1, 5, 200] {
        let found = pages(&service, "/rooms", "rooms", limit).await;
        assert_eq!(found.len(), expected.len(), "each once, {limit} a page");
        let found: BTreeMap<_, _> = found
            .iter()
            .map(|r| (r["room"].as_str().unwrap().to_owned(), r["count"].as_u64().unwrap()))
            .collect();
        assert_eq!(found, expected);
    }

    let crowd: Vec<_> = (0..120).map(|i| user(&format!("user {i:03}"))).collect();
    cluster.put(&b, &room("crowd"), 1, &crowd).await;
    let page = service.json("/rooms/crowd/users").await;
    assert_eq!((page["room"].as_str(), page["count"].as_u64()), (Some("crowd"), Some(120)));
    assert_eq!(page["users"].as_array().unwrap().len(), 50, "the default");
    let users = pages(&service, "/rooms/crowd/users", "users", 7).await;
    assert_eq!(users, crowd.iter().map(|u| json!(u)).collect::<Vec<_>>());
    assert_eq!(
        service.json("/rooms/nobody/users").await,
        json!({ "room": "nobody", "count": 0, "users": [] })
    );
}

#[tokio::test]
async fn all_pages_of_a_large_room_are_returned() {
    let redis = Redis::start();
    let (service, cluster) = (Service::ready(&redis).await, Cluster::join(&redis).await);
    let node = cluster.node("a", LONG).await;
    for part in 0..3 {
        let users: Vec<_> = (0..500).map(|i| user(&format!("user {part}-{i}"))).collect();
        cluster.put(&node, &room("large"), part + 1, &users).await;
    }
    let (mut seen, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = service.json(&format!("/rooms/large/users?limit=200{cursor}")).await;
        assert_eq!(page["count"], 1500);
        seen.extend(page["users"].as_array().unwrap().iter().map(|u| u.as_str().unwrap().to_owned()));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", encode(next)),
            None => break,
        }
    }
    assert_eq!(seen.len(), 1500);
}

#[tokio::test]
async fn a_user_and_the_nodes() {
    let redis = Redis::start();
    let (service, cluster) = (Service::ready(&redis).await, Cluster::join(&redis).await);
    let (a, b) = (cluster.node("node-a", LONG).await, cluster.node("node-b", LONG).await);
    let ann = user("Ann");
    cluster.put(&a, &room("one"), 1, &[ann.clone(), user("Bob")]).await;
    cluster.put(&b, &room("two"), 1, from_ref(&ann)).await;
    cluster.put(&b, &room("three"), 1, &[user("Bob")]).await;
    // Facts and a name of a node without a lease are no presence.
    let ghost = roomcast_store::Incarnation::random();
    cluster.put(&ghost, &room("ghosts"), 1, &[ann.clone(), user("Eve")]).await;

    let answer = service.json("/users/Ann").await;
    let mut nodes = [(a.as_str(), "node-a"), (b.as_str(), "node-b")];
    nodes.sort_unstable();
    let nodes: Vec<_> = nodes.map(|(i, n)| json!({ "incarnation": i, "name": n })).into();
    assert_eq!(answer, json!({ "user": "Ann", "online": true, "nodes": nodes, "rooms": ["one", "two"] }));
    for offline in ["Eve", "Nobody"] {
        let answer = service.json(&format!("/users/{offline}")).await;
        assert_eq!(answer, json!({ "user": offline, "online": false, "nodes": [], "rooms": [] }));
    }

    for limit in [1, 50] {
        let nodes = pages(&service, "/nodes", "nodes", limit).await;
        assert_eq!(nodes.len(), 2);
        for (node, name) in [(&a, "node-a"), (&b, "node-b")] {
            let node = nodes.iter().find(|n| n["incarnation"] == node.as_str()).unwrap();
            assert_eq!((&node["name"], &node["version"]), (&json!(name), &json!("9.9.9")));
            let left = node["lease_remaining_ms"].as_u64().unwrap();
            assert!(left > 0 && left <= 600_000, "{left}");
        }
    }
}

#[tokio::test]
async fn unusual_names_are_returned_unchanged() {
    let redis = Redis::start();
    let (service, cluster) = (Service::ready(&redis).await, Cluster::join(&redis).await);
    let node = cluster.node("a", LONG).await;
    let names = ["half/way", "/", "a%2Fb", "Чат 7 🎉", "q?x=1&y#z", "a+b c", "{n}:x", "..", "\"'<b>"];
    for name in names {
        cluster.put(&node, &room(name), 1, &[user(name)]).await;
    }
    for name in names {
        let encoded = encode(name);
        let users = service.json(&format!("/rooms/{encoded}/users")).await;
        assert_eq!(users, json!({ "room": name, "count": 1, "users": [name] }));
        let answer = service.json(&format!("/users/{encoded}")).await;
        assert_eq!((&answer["user"], &answer["rooms"]), (&json!(name), &json!([name])));
    }
    let rooms = pages(&service, "/rooms", "rooms", 2).await;
    let rooms: BTreeSet<_> = rooms.iter().map(|r| r["room"].as_str().unwrap()).collect();
    assert_eq!(rooms, BTreeSet::from(names));
}

#[tokio::test]
async fn invalid_requests_are_refused() {
    let redis = Redis::start();
    let service = Service::ready(&redis).await;
    let long = "x".repeat(129);
    let table = [
        ("/rooms?limit=0".to_owned(), 400, "bad_limit"),
        ("/rooms?limit=201".into(), 400, "bad_limit"),
        ("/rooms?limit=-1".into(), 400, "bad_limit"),
        ("/rooms?limit=many".into(), 400, "bad_limit"),
        ("/rooms?limit=".into(), 400, "bad_limit"),
        ("/rooms/general/users?limit=1e3".into(), 400, "bad_limit"),
        ("/nodes?limit=0".into(), 400, "bad_limit"),
        ("/rooms?limit=1&limit=2".into(), 400, "bad_query"),
        (format!("/rooms?cursor={}", "x".repeat(1025)), 400, "bad_cursor"),
        ("/rooms?cursor=0:general".into(), 400, "bad_cursor"),
        ("/rooms/general/users?cursor=s0".into(), 400, "bad_cursor"),
        ("/nodes?cursor=x".into(), 400, "bad_cursor"),
        ("/rooms/%40all/users".into(), 400, "bad_room"),
        ("/rooms/%20a/users".into(), 400, "bad_room"),
        ("/rooms/a%00b/users".into(), 400, "bad_room"),
        (format!("/rooms/{long}/users"), 400, "bad_room"),
        (format!("/users/{long}"), 400, "bad_username"),
        ("/users/%FF".into(), 400, "bad_path"),
        ("/nowhere".into(), 404, "not_found"),
        ("/rooms/general".into(), 404, "not_found"),
        ("/rooms/half/way/users".into(), 404, "not_found"),
        ("/users/".into(), 404, "not_found"),
    ];
    for (path, status, code) in table {
        let response = service.get(&path).await;
        assert_eq!((response.status, response.code().as_str()), (status, code), "{path}");
        assert!(response.head.contains("content-type: application/json"), "{}", response.head);
        assert!(response.head.contains("x-content-type-options: nosniff"), "{}", response.head);
    }
    let post = "POST /rooms HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
    let response = request(service.addr, post).await;
    assert_eq!((response.status, response.code().as_str()), (405, "method_not_allowed"));
    assert!(response.head.contains("allow: get"), "{}", response.head);
    let head = format!("GET /rooms HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(request(service.addr, &head).await.status, 431);
    assert!(service.get("/rooms?unknown=1").await.status == 200);
}

#[tokio::test]
async fn the_openapi_document_is_served() {
    let redis = Redis::start();
    let service = Service::ready(&redis).await;
    let served = service.get("/openapi.json").await;
    assert_eq!(served.status, 200);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi-presence.json");
    let committed = std::fs::read_to_string(file).unwrap();
    assert!(served.body == committed, "{file} is out of date: make generate");

    let (document, index) = (served.json(), service.json("/").await);
    assert_eq!(index["service"], "roomcast-presence");
    for endpoint in index["endpoints"].as_array().unwrap() {
        let path = endpoint["path"].as_str().unwrap();
        assert!(document["paths"][path]["get"].is_object(), "{path} is not described");
        let example = path.replace("{room}", "general").replace("{user}", "Ann");
        let response = service.get(&example).await;
        assert_eq!(response.status, 200, "{example}");
        assert!(response.head.contains("x-content-type-options: nosniff"), "{}", response.head);
    }
    let metrics = crate::support::get(service.admin, "/metrics").await.body;
    let line = "roomcast_directory_requests_total{route=\"/rooms/{room}/users\",status=\"200\"} 1";
    assert!(metrics.lines().any(|l| l == line), "{metrics}");
}
