//! How long things took: counts in buckets whose width grows with the value, so that recording is an
//! addition and a percentile is off by less than 2 %.

const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;

/// Counts of durations in nanoseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; index(u64::MAX) + 1], total: 0 }
    }
}

fn index(value: u64) -> usize {
    let index = if value < SUB {
        value
    } else {
        let shift = value.ilog2() - SUB_BITS;
        (u64::from(shift + 1) << SUB_BITS) + ((value >> shift) & (SUB - 1))
    };
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The greatest value of a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    match (index >> SUB_BITS).checked_sub(1) {
        None => index,
        Some(shift) => {
            ((u128::from(SUB + (index & (SUB - 1)) + 1) << shift) - 1).try_into().unwrap_or(u64::MAX)
        }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(index(value)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The value that `per_mille` thousandths do not exceed; 0 where nothing was counted.
    pub fn at(&self, per_mille: u64) -> u64 {
        let wanted = (u128::from(self.total) * u128::from(per_mille)).div_ceil(1000);
        let mut seen = 0_u128;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if *count > 0 && seen >= wanted {
                return upper(index);
            }
        }
        0
    }

    /// The same in milliseconds.
    pub fn ms(&self, per_mille: u64) -> f64 {
        self.at(per_mille) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_its_bucket() {
        for value in (0..2_000).chain([1 << 20, (1 << 20) + 12_345, u64::MAX / 3, u64::MAX]) {
            let bucket = index(value);
            assert!(upper(bucket) >= value, "{value}");
            assert!(bucket == 0 || upper(bucket - 1) < value, "{value}");
        }
    }

    #[test]
    fn percentiles_are_within_two_percent() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.at(500), 0);
        for value in 1..=10_000_u64 {
            histogram.record(value * 1_000);
        }
        assert_eq!(histogram.total(), 10_000);
        for (per_mille, exact) in [(500, 5_000_000), (990, 9_900_000), (1000, 10_000_000)] {
            let found = histogram.at(per_mille);
            assert!(found >= exact && found < exact + exact / 50, "{found} for {exact}");
        }
    }
}
