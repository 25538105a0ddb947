//! The contract of the store: every case is written once and runs on the memory twins, on a redis-server,
//! on a Redis Cluster of three nodes and on one of a single node that is taken for a plain server. The
//! tests start these themselves. What only Redis can suffer stands in `outage.rs`, `failover.rs` and
//! `layout.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail their test"
)]

mod bus;
mod failover;
mod layout;
mod log;
mod names;
mod nodes;
mod outage;
mod presence;
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
        an_epoch_begins_once
        a_room_in_use_stays_and_an_idle_one_goes
        any_name_is_a_room;
    presence:
        the_first_fact_joins_and_the_last_leaves
        a_write_runs_twice_and_an_older_one_never
        a_whole_write_removes_exactly_the_missing
        versions_are_consecutive_and_agree_with_the_state
        a_great_change_comes_in_pieces
        users_come_in_pages
        many_users_come_in_pages
        rooms_come_in_pages
        rooms_of_a_user
        an_arrival_is_told_to_nodes_where_the_user_was_before
        a_write_that_continues_is_refused_by_a_store_that_lost_its_data
        a_node_that_closed_a_room_left_no_field
        a_new_incarnation_takes_over_without_a_leave;
    names:
        a_name_belongs_to_its_secret
        users_are_counted_once
        a_name_in_grace
        the_dead_hold_nothing
        a_former_owner_releases_nothing
        claims_that_come_together
        a_connection_elsewhere_ends_one_grace;
    nodes:
        a_lease_is_renewed_until_it_runs_out
        a_sweep_removes_what_the_dead_left
        two_sweepers_announce_once
        a_great_room_is_swept_in_steps
        a_late_write_is_swept_the_second_time
        a_former_incarnation_is_sealed_though_the_store_forgot_it;
    bus:
        only_subscribed_rooms_are_heard
        an_ephemeral_event_reaches_everybody
        what_follows_a_subscription_is_heard
        churn_leaves_what_is_wanted;
}
