//! Redis is not started yet, or stops and is started again.

use serde_json::json;

use crate::support::{Cluster, LONG, Redis, Service, get, request, room, until, user};

#[tokio::test]
async fn a_start_without_redis_waits_for_it() {
    let mut redis = Redis::absent();
    let service = Service::start(&redis).await;
    let ready = get(service.admin, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["missing"]), (503, &json!(["first-sweep", "redis"])));
    assert_eq!(get(service.admin, "/livez").await.status, 200);
    let response = service.get("/rooms").await;
    assert_eq!((response.status, response.code().as_str()), (503, "unavailable"));
    assert!(response.head.contains("retry-after: 1"), "{}", response.head);
    assert_eq!(service.get("/rooms?limit=0").await.status, 400, "an invalid request is still refused");
    assert_eq!(service.get("/").await.status, 200);
    redis.begin();
    service.until_ready().await;
    assert_eq!(service.json("/rooms").await, json!({ "rooms": [] }));
}

#[tokio::test]
async fn an_outage_degrades_readiness_until_redis_answers_again() {
    let mut redis = Redis::start();
    let service = Service::ready(&redis).await;
    {
        let cluster = Cluster::join(&redis).await;
        let node = cluster.node("a", LONG).await;
        cluster.put(&node, &room("one"), 1, &[user("Ann")]).await;
        assert_eq!(service.json("/users/Ann").await["online"], true);
    }
    redis.end();
    for path in ["/rooms", "/rooms/one/users", "/users/Ann", "/nodes"] {
        let response = service.get(path).await;
        assert_eq!((response.status, response.code().as_str()), (503, "unavailable"), "{path}");
        assert!(response.head.contains("retry-after: 1"), "{}", response.head);
    }
    until("/readyz reports it", async || {
        let ready = get(service.admin, "/readyz").await;
        assert_eq!(ready.status, 200, "a replica stays ready in an outage that affects all replicas");
        (ready.json()["degraded"] == json!(["redis", "sweeper"])).then_some(())
    })
    .await;
    let metrics = get(service.admin, "/metrics").await.body;
    assert!(metrics.contains("roomcast_degraded{part=\"redis\"} 1"), "{metrics}");

    // Empty, because it does not persist its data.
    redis.begin();
    until("it answers again", async || (service.get("/rooms").await.status == 200).then_some(())).await;
    until("/readyz reports it", async || {
        let ready = get(service.admin, "/readyz").await;
        (ready.status == 200 && ready.json()["degraded"] == json!([])).then_some(())
    })
    .await;
    assert_eq!(service.json("/users/Ann").await["online"], false);
    let keep_alive =
        "GET / HTTP/1.1\r\nhost: x\r\n\r\nGET /nodes HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let both = request(service.addr, keep_alive).await;
    assert!(both.body.contains("HTTP/1.1 200 OK") && both.body.ends_with("{\"nodes\":[]}"), "{}", both.body);
}
