//! The library against live ones, both ways: `vodozemac` from PyPI and libolm.
//!
//! Each scenario runs against both. `tests/peers/run.sh` installs them and runs
//! this; without `MATRIXE2EE_PEERS` the scenarios are skipped, and say so.
//! `PEER_SEED=<number>` repeats a run, apart from the keys, which the libraries
//! draw themselves.

#[path = "peers/libolm_sessions.rs"]
mod libolm_sessions;
#[path = "peers/link.rs"]
mod link;
#[path = "peers/moving.rs"]
mod moving;
#[path = "peers/olm_channels.rs"]
mod olm_channels;
#[path = "peers/olm_conversations.rs"]
mod olm_conversations;
#[path = "peers/ours.rs"]
mod ours;
#[path = "peers/room_events.rs"]
mod room_events;
#[path = "peers/signatures.rs"]
mod signatures;
#[path = "peers/traffic.rs"]
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use link::{Peer, Program};
use matrixe2ee::{
    Account, E2eeError, InboundMegolmSession, OlmChannel, OutboundMegolmSession, canonical_json,
    keys_claim_request, read_keys_claim_response, verify_signed_json,
};
use ours::{MEGOLM, Ours, ok, parse, refused, text, undecryptable};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use traffic::{Direction, any_content, pick};

use libolm_sessions::*;
use moving::*;
use olm_channels::*;
use olm_conversations::*;
use room_events::*;
use signatures::*;

const US: &str = "@us:example.org";
const THEM: &str = "@them:example.com";
const ROOM: &str = "!room:example.org";
const NOTE: &str = "org.example.note";

/// What a scenario runs with.
struct Stage {
    program: Program,
    rng: StdRng,
}

impl Stage {
    /// Both sides, strangers to each other.
    fn two_devices(&self) -> (Ours, Peer) {
        (Ours::new(US, "OURS"), Peer::start(self.program, THEM, "THEIRS"))
    }

    /// Both sides, with a channel that both have used.
    fn two_friends(&self) -> (Ours, Peer) {
        let (ours, mut peer) = self.two_devices();
        ours.start_channel(&mut peer);
        ours.send(&mut peer, "m.dummy", &json!({}));
        let answer = ours.message_from(&mut peer, "m.dummy", &json!({}));
        ok(ours.channel(&peer).decrypt(&answer.to_string()));
        (ours, peer)
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_ratio(1, one_in)
    }
}

fn perform(name: &str, program: Program, scenario: fn(&mut Stage)) {
    if !program.is_there() {
        return;
    }
    let seed = match std::env::var("PEER_SEED") {
        Ok(seed) => seed.parse().expect("PEER_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("{name} against {program:?}: PEER_SEED={seed}");
    scenario(&mut Stage { program, rng: StdRng::seed_from_u64(seed) });
}

macro_rules! against {
    ($($module:ident $program:ident { $($scenario:ident),* $(,)? })*) => {$(
        mod $module {
            $(
                #[test]
                fn $scenario() {
                    let name = stringify!($scenario);
                    super::perform(name, super::Program::$program, super::$scenario);
                }
            )*
        }
    )*};
}

macro_rules! against_both {
    ($($scenario:ident),* $(,)?) => {
        against! {
            vodozemac Vodozemac { $($scenario),* }
            libolm Libolm { $($scenario),* }
        }
    };
}

against_both![
    a_channel_that_we_start_carries_events_both_ways,
    a_channel_that_the_peer_starts_carries_events_both_ways,
    a_fallback_key_starts_a_channel_either_way_and_no_message_opens_twice,
    of_several_olm_sessions_the_last_to_receive_sends_and_the_longest_silent_is_dropped,
    a_first_olm_event_that_lies_leaves_a_channel_without_a_fingerprint,
    an_olm_event_whose_envelope_lies_is_refused_and_the_channel_goes_on,
    a_long_olm_conversation_survives_reordering_loss_repetition_and_restarts,
    forty_skipped_olm_messages_still_open_and_a_gap_of_two_thousand_does_not,
    our_room_events_open_at_the_peer_in_any_order_and_across_restarts,
    a_power_loss_never_makes_us_use_a_message_index_twice,
    room_events_of_the_peer_open_once_each_in_any_order_and_across_restarts,
    a_lower_room_key_of_the_peer_extends_the_session_and_a_higher_one_does_not,
    exported_sessions_open_the_same_events_on_the_other_side,
    an_account_pickle_becomes_our_account_and_its_one_time_keys_still_work,
    device_keys_and_one_time_keys_verify_on_the_other_side_and_altered_ones_do_not,
    signed_json_of_any_shape_verifies_on_the_other_side,
];

/// The device that moves, and the partner that stays, each with either library.
macro_rules! olm_sessions_move {
    ($($name:ident $from:ident $partner:ident;)*) => {$(
        #[test]
        fn $name() {
            if Program::$partner.is_there() {
                perform(stringify!($name), Program::$from, |stage| {
                    olm_sessions_continue_from_pickles(stage, Program::$partner);
                });
            }
        }
    )*};
}

olm_sessions_move! {
    olm_sessions_move_from_vodozemac_and_continue_with_vodozemac Vodozemac Vodozemac;
    olm_sessions_move_from_vodozemac_and_continue_with_libolm Vodozemac Libolm;
    olm_sessions_move_from_libolm_and_continue_with_vodozemac Libolm Vodozemac;
    olm_sessions_move_from_libolm_and_continue_with_libolm Libolm Libolm;
}

against! {
    from_libolm Libolm {
        a_talk_with_skipped_messages_moves_and_goes_on,
        rooms_move_in_both_directions,
        ten_thousand_sessions_move_with_one_call,
    }
}

/// Decrypts a message of the peer and compares it with what the peer was given.
#[track_caller]
fn read(channel: &OlmChannel, message: &Value, event_type: &str, content: &Value) {
    let event = parse(&ok(channel.decrypt(&message.to_string())));
    assert_eq!((&event["type"], &event["content"]), (&json!(event_type), content));
}

fn message_type(message: &Value, recipient_key: &str) -> u64 {
    message["ciphertext"][recipient_key]["type"].as_u64().expect("a message for the recipient")
}
