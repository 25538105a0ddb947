//! What the runtime that serves says about itself, as far as tokio's stable interface goes. Called by the
//! binaries' `App::build`, on that runtime; looked up at each scrape.

use tokio::runtime::Handle;

use super::registry::{Metrics, MetricsError};

impl Metrics {
    /// Registers `roomcast_runtime_*` of the runtime that `handle` belongs to.
    ///
    /// # Errors
    /// When these names are already registered.
    pub fn publish_runtime(&self, handle: &Handle) -> Result<(), MetricsError> {
        let runtime = handle.metrics();
        let workers = self.gauge("roomcast_runtime_workers", "Threads of the runtime that serves.")?;
        let tasks = self.gauge("roomcast_runtime_tasks", "Tasks of the runtime that have not ended.")?;
        let busy = self.seconds_counter(
            "roomcast_runtime_busy_seconds_total",
            "Time that the threads of the runtime were busy, all of them together.",
        )?;
        let queue = self.gauge(
            "roomcast_runtime_queue_depth",
            "Tasks that are ready and wait in the queue that the threads of the runtime share.",
        )?;
        self.before_scrape(move || {
            let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            workers.set(count(runtime.num_workers()));
            tasks.set(count(runtime.num_alive_tasks()));
            queue.set(count(runtime.global_queue_depth()));
            let total: f64 = (0..runtime.num_workers())
                .map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64())
                .sum();
            // A counter refuses to go back, which rounding might make it do.
            busy.inc_by((total - busy.get()).max(0.0));
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_runtime_is_described() {
        let metrics = Metrics::new("1").unwrap();
        metrics.publish_runtime(&Handle::current()).unwrap();
        let text = metrics.encode();
        assert!(text.contains("roomcast_runtime_workers 2\n"), "{text}");
        for name in [
            "roomcast_runtime_tasks ",
            "roomcast_runtime_busy_seconds_total ",
            "roomcast_runtime_queue_depth ",
        ] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in\n{text}");
        }
    }
}
