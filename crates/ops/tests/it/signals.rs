//! SIGTERM and SIGINT, sent by `kill` to this very process. One test, because every lifecycle of a process that
//! listens receives every signal.

use std::process::{Command, ExitCode};

use roomcast_ops::{Lifecycle, Outcome};

use crate::http::TIMEOUT;

fn kill(signal: &str) {
    let status = Command::new("kill").args([signal, &std::process::id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn the_first_signal_is_soft_and_the_second_hard() {
    let life = Lifecycle::new();
    life.listen_for_signals();
    let hard = life.hard();
    let worker = life.spawn("worker", async move { hard.cancelled().await });
    let finish = life.spawn("unrelated", std::future::ready(()));
    finish.await.unwrap();

    kill("-TERM");
    tokio::time::timeout(TIMEOUT, life.stopped()).await.expect("soft after the first signal");
    assert!(!life.hard().is_cancelled() && !worker.is_finished());

    kill("-INT");
    let outcome =
        tokio::time::timeout(TIMEOUT, life.finish(TIMEOUT * 10)).await.expect("hard after the second");
    assert_eq!(outcome, Outcome::GaveUp);
    assert_eq!(outcome.exit_code(), ExitCode::from(2));
    worker.await.unwrap();
}
