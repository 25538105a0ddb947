//! Stock socketioxide with its Redis adapter, set up as their documentation shows.
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::serve::ListenerExt as _;
use serde::{Deserialize, Serialize};
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::{SocketIo, TransportType};
use socketioxide_redis::drivers::redis::redis_client;
use socketioxide_redis::{RedisAdapter, RedisAdapterCtr};
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct Join {
    room: String,
}

#[derive(Deserialize)]
struct SendMessage {
    room: String,
    text: String,
}

#[derive(Serialize)]
struct Message<'a> {
    room: &'a str,
    text: &'a str,
    user: String,
    ts: u64,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

const OK: Status = Status { status: "ok" };

async fn on_connect<A: Adapter>(socket: SocketRef<A>) {
    socket.on("join", on_join);
    socket.on("send_message", on_send_message);
}

async fn on_join<A: Adapter>(socket: SocketRef<A>, Data(data): Data<Join>, ack: AckSender<A>) {
    socket.join(data.room);
    let _ = ack.send(&OK);
}

async fn on_send_message<A: Adapter>(
    io: SocketIo<A>,
    socket: SocketRef<A>,
    Data(data): Data<SendMessage>,
    ack: AckSender<A>,
) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let message = Message {
        room: &data.room,
        text: &data.text,
        user: socket.id.to_string(),
        ts: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
    };
    if let Err(error) = io.to(data.room.clone()).emit("message", &message).await {
        eprintln!("broadcast: {error}");
    }
    let _ = ack.send(&OK);
}

/// The word after `name` on the command line.
fn flag(name: &str) -> Result<String, String> {
    std::env::args().skip_while(|word| word != name).nth(1).ok_or(format!("{name} is missing"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = flag("--port")?.parse()?;
    let redis = redis_client::Client::open(format!("{}?protocol=resp3", flag("--redis")?))?;
    let (layer, io) = SocketIo::builder()
        .transports([TransportType::Websocket])
        .with_adapter::<RedisAdapter<_>>(RedisAdapterCtr::new_with_redis(&redis).await?)
        .build_layer();
    io.ns("/", on_connect).await?;

    // As axum's documentation shows. Without it, messages would wait for acknowledgements of TCP.
    let listener = TcpListener::bind(("127.0.0.1", port)).await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    println!("listening on 127.0.0.1:{port}");
    axum::serve(listener, Router::new().layer(layer)).await?;
    Ok(())
}
