//! Counts the users who are online in the whole cluster, for the metrics. Every replica does, with the same result.
//! Called by `app.rs`; reads the store's nodes and names.

use std::time::Duration;

use roomcast_ops::CancellationToken;
use roomcast_store::{Result, Store};
use tokio::time::{Instant, sleep};

use crate::telemetry::Telemetry;

/// How often at most.
const MIN_INTERVAL: Duration = Duration::from_secs(5);
/// At most one part in so many of the time is spent counting.
const MAX_SHARE: u32 = 20;

/// Counts until `stop`.
pub(crate) async fn run(store: Store, telemetry: Telemetry, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        loop {
            // While Redis cannot be reached, counting could only fail.
            if store.health.watch().wait_for(|reach| reach.up).await.is_err() {
                return;
            }
            let begun = Instant::now();
            match count(&store).await {
                Ok((users, nodes)) => telemetry.online_counted(users, nodes),
                Err(error) => telemetry.count_failed(&error),
            }
            sleep(MIN_INTERVAL.max(begun.elapsed() * MAX_SHARE)).await;
        }
    })
    .await;
}

async fn count(store: &Store) -> Result<(usize, usize)> {
    let nodes = store.nodes.list().await?.into_iter().filter(|node| !node.remaining.is_zero());
    let nodes: Vec<_> = nodes.map(|node| node.incarnation).collect();
    Ok((store.names.online(&nodes).await?, nodes.len()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roomcast_ops::Metrics;
    use roomcast_protocol::UserName;
    use roomcast_store::{IgnoreEvents, Incarnation, NodeInfo, Secret, Settings};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn users_of_living_nodes_are_counted_once() {
        let store = Store::in_memory(&Settings::default(), Arc::new(IgnoreEvents));
        let nodes = [Incarnation::random(), Incarnation::random(), Incarnation::random()];
        let info = NodeInfo { name: "n".into(), version: "1".into(), peer: None, body_version: 1 };
        for (node, lease) in nodes.iter().zip([100, 100, 1]) {
            store.nodes.register(node, &info, Duration::from_secs(lease)).await.unwrap();
            for user in ["Ann", node.as_str()] {
                let user = UserName::parse(user).unwrap();
                store.names.claim(&user, &Secret::proved("s"), node, &[]).await.unwrap();
            }
        }
        let metrics = Metrics::new("1").unwrap();
        let (telemetry, stop) = (Telemetry::new(&metrics).unwrap(), CancellationToken::new());
        let running = run(store, telemetry, stop.clone());
        let seen = async {
            sleep(Duration::from_secs(2)).await;
            let first = metrics.encode();
            assert!(first.contains("roomcast_presence_users 4\n"), "{first}");
            assert!(first.contains("roomcast_presence_nodes 3\n"), "{first}");
            sleep(Duration::from_secs(5)).await;
            let second = metrics.encode();
            assert!(second.contains("roomcast_presence_users 3\n"), "{second}");
            assert!(second.contains("roomcast_presence_nodes 2\n"), "{second}");
            stop.cancel();
        };
        tokio::join!(running, seen);
    }
}
