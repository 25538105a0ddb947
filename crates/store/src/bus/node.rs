//! One connection to a node of a cluster, which carries subscriptions and what they bring (`exchange.rs`). Opened by
//! `cluster.rs`.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use redis_protocol::resp3::decode::complete::decode_bytes_mut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::exchange::{ANSWER_TIMEOUT, ConnectionId, Exchange, Reports, Request};
use super::slots::host_of;
use crate::address::Credentials;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(250);
/// Room for what is read at once.
const READ: usize = 16 * 1024;
/// Requests that may wait for a connection.
pub(super) const QUEUE: usize = 1_024;

/// What is needed to open a connection.
pub(super) struct Opening {
    pub(super) id: ConnectionId,
    pub(super) address: String,
    pub(super) credentials: Option<Credentials>,
    /// An ordinary channel, which every connection subscribes to.
    pub(super) control: String,
}

/// Opens a connection and serves it until it fails or nobody can send requests any more.
pub(super) async fn serve<R: Reports>(opening: Opening, requests: mpsc::Receiver<Request>, reports: Arc<R>) {
    let id = opening.id;
    let ended = exchange(opening, requests, &*reports).await;
    reports.closed(id, ended.err());
}

async fn exchange<R: Reports>(
    opening: Opening,
    mut requests: mpsc::Receiver<Request>,
    reports: &R,
) -> Result<(), String> {
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(&opening.address)).await;
    let mut stream =
        connected.map_err(|_| "not connected in time".to_owned())?.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut exchange = Exchange::new(opening.id, host_of(&opening.address).to_owned(), reports);
    exchange.begin(opening.credentials.as_ref(), &opening.control);
    let mut input = BytesMut::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if !exchange.output.is_empty() {
            let written = timeout(ANSWER_TIMEOUT, stream.write_all(&exchange.output)).await;
            written
                .map_err(|_| "nothing could be written in time".to_owned())?
                .map_err(|error| error.to_string())?;
            exchange.output.clear();
        }
        input.reserve(READ);
        tokio::select! {
            read = stream.read_buf(&mut input) => {
                if read.map_err(|error| error.to_string())? == 0 {
                    return Err("closed by the server".to_owned());
                }
                exchange.received(Instant::now());
                while let Some((frame, ..)) = decode_bytes_mut(&mut input).map_err(|error| error.to_string())? {
                    exchange.receive(&frame)?;
                }
            }
            request = requests.recv() => {
                let Some(request) = request else { return Ok(()) };
                exchange.send(request);
                while let Ok(request) = requests.try_recv() {
                    exchange.send(request);
                }
            }
            _ = ticks.tick() => exchange.tick(Instant::now())?,
        }
    }
}
