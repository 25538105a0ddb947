//! Records which member received which message, with one bit for each: sums could hide a loss, a repetition or a
//! wrong order. Called by `swarm` for each delivery.

/// The kind of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The first of its message to this member; `ordered` is false where a later message of the same
    /// sender was received before it.
    Fresh {
        /// After everything that the same sender sent earlier.
        ordered: bool,
    },
    /// The member had it already.
    Repeated,
}

/// What one member received of its room.
#[derive(Debug, Default)]
pub struct Tally {
    seen: Vec<u64>,
    /// By sender: the number after that of the last message.
    next_of: Vec<u32>,
    /// Fresh deliveries.
    received: u32,
}

impl Tally {
    /// Counts a delivery.
    pub fn record(&mut self, sender: u32, number: u32) -> Delivery {
        let word = (number / 64) as usize;
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let bit = 1_u64 << (number % 64);
        if let Some(bits) = self.seen.get_mut(word) {
            if *bits & bit != 0 {
                return Delivery::Repeated;
            }
            *bits |= bit;
        }
        self.received += 1;
        let sender = sender as usize;
        if self.next_of.len() <= sender {
            self.next_of.resize(sender + 1, 0);
        }
        let mut ordered = true;
        if let Some(next) = self.next_of.get_mut(sender) {
            ordered = number >= *next;
            *next = (*next).max(number + 1);
        }
        Delivery::Fresh { ordered }
    }

    /// Messages that were received, each counted once.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// How many of the first `sent` messages were not received.
    pub fn lost(&self, sent: u32) -> u32 {
        sent.saturating_sub(self.received)
    }
}

/// The order in which all of a room's members should see its messages, taken at each position from the member that
/// reached it first. Roomcast guarantees one order on all nodes; its peers do not.
#[derive(Debug, Default)]
pub struct Order(Vec<u32>);

impl Order {
    /// Whether a member's delivery at this position (from 0) is what others saw there.
    pub fn agrees(&mut self, position: u32, number: u32) -> bool {
        match self.0.get(position as usize) {
            Some(seen) => *seen == number,
            None => {
                self.0.push(number);
                true
            }
        }
    }

    /// A digest (FNV-1a): equal where the orders are.
    pub fn digest(&self) -> u64 {
        self.0.iter().fold(0xcbf2_9ce4_8422_2325, |digest, number| {
            (digest ^ u64::from(*number)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Delivery = Delivery::Fresh { ordered: true };

    #[test]
    fn losses_repetitions_and_inversions_are_told_apart() {
        let mut tally = Tally::default();
        assert_eq!(tally.record(0, 0), FRESH);
        assert_eq!(tally.record(1, 70), FRESH);
        assert_eq!(tally.record(0, 3), FRESH, "of another sender: no inversion");
        assert_eq!(tally.record(1, 69), Delivery::Fresh { ordered: false });
        assert_eq!(tally.record(1, 70), Delivery::Repeated);
        assert_eq!(tally.received(), 4);
        assert_eq!(tally.lost(71), 67);
        assert_eq!(tally.lost(4), 0);
    }

    #[test]
    fn members_agree_on_one_order_or_it_is_seen() {
        let mut order = Order::default();
        assert!(order.agrees(0, 5));
        assert!(order.agrees(1, 4));
        assert!(order.agrees(0, 5));
        assert!(!order.agrees(1, 6));
        let mut other = Order::default();
        assert!(other.agrees(0, 5));
        assert_ne!(order.digest(), other.digest());
        assert!(other.agrees(1, 4));
        assert_eq!(order.digest(), other.digest());
    }
}
