//! The contract of the store: every case is written once and runs on the memory implementations, on a redis-server,
//! on a Redis Cluster of three nodes and on one of a single node that is taken for a plain server. The
//! tests start these themselves. What only Redis can suffer stands in `outage.rs`, `failover.rs`,
//! `resharding.rs` and `layout.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail their test"
)]

mod bus;
mod failover;
mod images;
mod inbox;
mod layout;
mod log;
mod names;
mod nodes;
mod outage;
mod presence;
mod resharding;
mod server;
mod subject;

/// Makes a test of each case for each kind of store.
macro_rules! contract {
    ($($area:ident: $($case:ident)+;)+) => {
        contract!(@on memory, $($($area $case)+)+);
        contract!(@on redis, $($($area $case)+)+);
        contract!(@on cluster, $($($area $case)+)+);
        contract!(@on shard, $($($area $case)+)+);
    };
    (@on $place:ident, $($area:ident $case:ident)+) => {
        mod $place {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$area::$case(crate::subject::Subject::$place().await).await;
                }
            )+
        }
    };
}

contract! {
    log:
        offsets_have_no_hole_and_every_node_hears_them_in_order
        batched_messages_are_answered_each
        a_body_reads_back_as_it_was_sent
        an_id_is_stored_once
        an_id_of_another_user_is_taken
        what_is_beyond_the_length_and_old_goes
        what_is_beyond_the_length_and_young_stays
        what_is_beyond_the_cap_goes
        since_is_whole_or_lost
        a_gap_that_was_trimmed_is_lost
        pages_of_the_past
        reads_are_limited_in_bytes
        an_epoch_begins_once
        a_room_in_use_stays_and_an_idle_one_goes
        any_name_is_a_room;
    images:
        an_image_is_read_from_any_node_once_its_message_is_stored
        equal_bytes_are_kept_once_and_all_are_bounded
        an_image_goes_with_the_last_message_that_refers_to_it
        a_message_that_is_stored_again_keeps_its_first_image
        a_room_in_use_keeps_its_images_and_an_idle_one_does_not
        a_private_image_stays_as_long_as_one_of_both_inboxes_has_it
        a_private_message_that_is_sent_again_keeps_its_first_image
        an_inbox_in_use_keeps_its_images_and_an_idle_one_does_not;
    presence:
        the_first_fact_joins_and_the_last_leaves
        a_repeated_or_older_write_changes_nothing
        a_whole_write_removes_exactly_the_missing_users
        versions_are_consecutive_and_agree_with_the_state
        a_large_change_is_published_in_chunks
        users_are_listed_in_pages
        many_users_are_listed_in_pages
        rooms_are_listed_in_pages
        rooms_of_a_user_are_listed
        an_arrival_is_published_where_the_user_has_facts_of_other_nodes
        an_arrival_under_a_name_of_another_kind_is_another_person
        a_write_that_continues_is_refused_by_a_store_that_lost_its_data
        a_closed_room_keeps_no_field_of_the_node
        a_room_without_a_message_or_a_user_is_forgotten
        a_new_incarnation_replaces_the_former_without_a_leave;
    names:
        a_name_belongs_to_its_secret
        the_owner_of_a_name_is_known_by_the_secret_while_it_is_held
        users_are_counted_once
        a_name_in_grace_is_protected_unless_it_is_open
        holds_of_dead_incarnations_are_removed
        a_former_owner_cannot_release_the_name
        a_name_that_was_taken_over_is_known_as_such_until_it_is_free
        concurrent_claims_are_answered_each
        a_connection_on_another_node_ends_one_grace;
    inbox:
        a_private_message_is_in_both_inboxes_and_reaches_both_nodes
        a_claim_tells_where_the_inbox_ends
        a_repeated_message_is_stored_once_and_completed
        a_message_to_an_offline_user_is_stored_nowhere
        an_inbox_belongs_to_a_person_and_not_to_a_name
        an_open_name_is_online_only_while_connected
        what_a_reader_missed_is_whole_or_lost
        a_conversation_is_read_in_pages
        an_inbox_that_is_not_used_expires;
    nodes:
        a_lease_is_renewed_until_it_runs_out
        a_sweep_removes_facts_and_names_of_dead_nodes
        two_sweepers_publish_each_leave_once
        a_large_room_is_swept_in_steps
        a_late_write_is_removed_by_the_second_sweep
        a_former_incarnation_is_sealed_also_if_the_store_has_no_lease_of_it;
    bus:
        only_subscribed_rooms_are_heard
        an_ephemeral_event_reaches_everybody
        what_follows_a_subscription_is_heard
        churn_leaves_what_is_wanted;
}
