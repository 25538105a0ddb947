//! Which slot a room or a user lives in: one of 1,024 fixed partitions, each with a hash tag chosen so
//! that partitions spread evenly over the 16,384 slots of Redis Cluster. Called by `keys.rs`,
//! which never lets user text into a tag. Never change the functions: keys already written would not be found again.

use std::sync::LazyLock;

use crc16::{State, XMODEM};

/// Partitions there are, for ever.
pub(crate) const PARTITIONS: u16 = 1_024;
const SLOTS: u16 = 16_384;
const SLOTS_EACH: u16 = SLOTS / PARTITIONS;

fn crc(bytes: &[u8]) -> u16 {
    State::<XMODEM>::calculate(bytes)
}

/// The partition of a name.
pub(crate) fn of(name: &str) -> u16 {
    crc(name.as_bytes()) % PARTITIONS
}

/// A partition's hash tag, without braces: the first of the words 0, 1, 2 … whose slot falls into the
/// partition's sixteen.
pub(crate) fn tag(partition: u16) -> &'static str {
    static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut tags = vec![String::new(); usize::from(PARTITIONS)];
        let mut missing = tags.len();
        let mut word = 0_u32;
        while missing > 0 {
            let text = word.to_string();
            let home = usize::from((crc(text.as_bytes()) % SLOTS) / SLOTS_EACH);
            if let Some(tag) = tags.get_mut(home)
                && tag.is_empty()
            {
                *tag = text;
                missing -= 1;
            }
            word += 1;
        }
        tags
    });
    TAGS.get(usize::from(partition % PARTITIONS)).map_or("", String::as_str)
}

/// The slot of a key or channel, by its hash tag.
pub(crate) fn slot(key: &str) -> u16 {
    let tagged = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc(tagged.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_tag_in_its_own_slots() {
        for partition in 0..PARTITIONS {
            let slot = crc(tag(partition).as_bytes()) % SLOTS;
            assert_eq!(slot / SLOTS_EACH, partition, "tag {:?}", tag(partition));
        }
    }

    #[test]
    fn a_slot_is_that_of_the_tag() {
        // As `CLUSTER KEYSLOT` answers.
        for (key, expected) in
            [("foo", 12_182), ("p:{foo}:b:{bar}", 12_182), ("{}foo", slot("{}foo")), ("123456789", 12_739)]
        {
            assert_eq!(slot(key), expected, "{key}");
        }
        assert_ne!(slot("{}foo"), slot("foo"));
    }

    #[test]
    fn the_layout_is_what_it_always_was() {
        // Pinned: if this fails, existing clusters would lose every room.
        let all: String = (0..PARTITIONS).map(tag).collect::<Vec<_>>().join(" ");
        assert_eq!((of("general"), of("help"), crc(all.as_bytes())), (765, 90, 58_634));
    }
}
