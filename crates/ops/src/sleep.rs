//! Sleeping until a time that may not be set. Called by loops that wait for whichever of several things comes first.

use std::time::Instant;

/// Returns at this time; never where there is none.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sleeps_until_the_time_or_for_ever() {
        let begun = tokio::time::Instant::now();
        sleep_until(Some((begun + Duration::from_secs(1)).into_std())).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        let day = Duration::from_secs(86_400);
        assert!(tokio::time::timeout(day, sleep_until(None)).await.is_err());
    }
}
