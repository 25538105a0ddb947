//! The admin listener over real HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;

use axum::Router;
use axum::routing::get as on_get;
use roomcast_ops::{Admin, AdminHandle, LogFormat, Metrics, Readiness, telemetry};
use serde_json::json;

use crate::http::{TIMEOUT, get, request};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn bind(readiness: &Readiness) -> Admin {
    let log = telemetry::init(LogFormat::Text, "warn").unwrap();
    Admin::bind(ANY_PORT, readiness.clone(), Metrics::new("1.2.3").unwrap(), log).unwrap()
}

fn start(readiness: &Readiness) -> AdminHandle {
    bind(readiness).start()
}

#[tokio::test]
async fn readiness_follows_latches_and_draining_and_startup_stays() {
    let readiness = Readiness::new();
    let admin = start(&readiness);
    let at = admin.local_addr();
    assert_eq!(get(at, "/readyz").await.status, 503, "no latch yet");

    let (redis, bus) = (readiness.latch("redis"), readiness.latch("bus"));
    redis.open();
    let answer = get(at, "/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json(),
        json!({ "ready": false, "missing": ["bus"], "draining": false, "degraded": [] })
    );
    let answer = get(at, "/startupz").await;
    assert_eq!((answer.status, answer.json()), (503, json!({ "started": false, "missing": ["bus"] })));
    assert_eq!(get(at, "/livez").await.status, 200, "live while not ready");

    bus.open();
    assert_eq!(get(at, "/readyz").await.status, 200);
    assert_eq!(get(at, "/startupz").await.status, 200);
    readiness.degrade("redis", true);
    let answer = get(at, "/readyz").await;
    assert_eq!((answer.status, &answer.json()["degraded"]), (200, &json!(["redis"])));

    redis.close();
    assert_eq!(get(at, "/readyz").await.json()["missing"], json!(["redis"]));
    assert_eq!(get(at, "/startupz").await.status, 200, "startup is for good");
    redis.open();
    assert_eq!(get(at, "/readyz").await.status, 200);

    readiness.drain();
    let answer = get(at, "/readyz").await;
    assert_eq!((answer.status, &answer.json()["draining"]), (503, &json!(true)));
    assert_eq!(get(at, "/livez").await.json(), json!({ "live": true }));
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let admin = start(&Readiness::new());
    let answer = get(admin.local_addr(), "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    assert!(answer.body.contains("roomcast_build_info{version=\"1.2.3\"} 1\n"), "{}", answer.body);
}

#[tokio::test]
async fn the_log_level_changes_at_run_time() {
    let admin = start(&Readiness::new());
    let at = admin.local_addr();
    assert!(!tracing::enabled!(tracing::Level::DEBUG));
    let answer = request(at, "PUT", "/log-level", "warn,it=debug").await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "filter": "warn,it=debug" })));
    assert!(tracing::enabled!(tracing::Level::DEBUG), "the new filter is in force");
    assert_eq!(get(at, "/log-level").await.json(), json!({ "filter": "warn,it=debug" }));

    for (body, status, code) in
        [("it=loud", 400, "bad_filter"), (" ", 400, "bad_filter"), (&"x".repeat(5000), 413, "bad_body")]
    {
        let answer = request(at, "PUT", "/log-level", body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)));
    }
    assert!(tracing::enabled!(tracing::Level::DEBUG), "a bad filter changes nothing");
    assert_eq!(request(at, "PUT", "/log-level", "warn").await.status, 200);
    assert!(!tracing::enabled!(tracing::Level::DEBUG));
}

#[tokio::test]
async fn anything_else_lists_the_endpoints() {
    let admin = bind(&Readiness::new())
        .with_routes(Router::new().route("/debug/rooms", on_get(async || "rooms")))
        .with_routes(Router::new().route("/livez", on_get(async || "not the built-in one")))
        .describe("GET", "/debug/rooms", "rooms of this node")
        .start();
    let at = admin.local_addr();
    assert_eq!(get(at, "/debug/rooms").await.body, "rooms");
    assert_eq!(get(at, "/livez").await.json(), json!({ "live": true }), "built-in routes win");

    let answer = get(at, "/nothing?a=b").await;
    assert_eq!((answer.status, &answer.json()["message"]), (404, &json!("no such endpoint: GET /nothing")));
    let listed: Vec<String> = answer.json()["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| format!("{} {}", e["method"].as_str().unwrap(), e["path"].as_str().unwrap()))
        .collect();
    let expected =
        ["GET /livez", "GET /readyz", "GET /startupz", "GET /metrics", "GET /log-level", "PUT /log-level"];
    assert_eq!(listed[..6], expected);
    assert_eq!(listed[6..], ["GET /debug/rooms"]);

    for path in ["/livez", "/debug/rooms"] {
        let answer = request(at, "POST", path, "").await;
        let message = format!("{path} does not take POST");
        assert_eq!(answer.status, 405);
        assert_eq!(answer.json(), json!({ "code": "method_not_allowed", "message": message }));
    }
}

#[test]
fn answers_while_the_main_runtime_is_blocked() {
    let (release, released) = mpsc::sync_channel::<()>(1);
    let (blocked, is_blocked) = mpsc::sync_channel(1);
    let main = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let readiness = Readiness::new();
            readiness.latch("redis").open();
            let admin = start(&readiness);
            blocked.send(admin.local_addr()).unwrap();
            // The only thread of this runtime now runs nothing else.
            released.recv_timeout(TIMEOUT * 2).unwrap();
        });
    });
    let at = is_blocked.recv_timeout(TIMEOUT).unwrap();
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(client.block_on(get(at, path)).status, 200, "{path}");
    }
    release.send(()).unwrap();
    main.join().unwrap();
}

#[tokio::test]
async fn stopping_frees_the_port() {
    let readiness = Readiness::new();
    let admin = start(&readiness);
    let at = admin.local_addr();
    let log = telemetry::init(LogFormat::Text, "warn").unwrap();
    let metrics = Metrics::new("1").unwrap();
    let taken = Admin::bind(at, readiness.clone(), metrics.clone(), log.clone()).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    // A client that never sends a request must not hold it.
    let _idle = tokio::net::TcpStream::connect(at).await.unwrap();
    admin.stop();
    assert!(tokio::net::TcpStream::connect(at).await.is_err());
    drop(Admin::bind(at, readiness, metrics, log).unwrap());
    assert!(tokio::net::TcpStream::connect(at).await.is_err(), "never started, and gone");
}
