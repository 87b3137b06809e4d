//! Sending and receiving in a room.

use serde_json::json;

use super::acts::{bob_writes, from_room_key, recipients, say_to_room, say_to_several};
use super::people::v;
use super::script::{STEP, Step};
use super::world::{NEW_STORE_KEY, RESERVED, ROOM, World};
use crate::handles::{InboundMegolmSession, OutboundMegolmSession};

pub(super) const ROOMS: &[Step] = &[
    Step {
        name: "OutboundMegolmSession.create",
        call: |world| {
            let settings = json!({ "reserve_ahead": RESERVED }).to_string();
            let session = OutboundMegolmSession::create(world.account(), ROOM, Some(settings))?;
            world.outbound = Some(session);
            Ok(())
        },
        ..STEP
    },
    Step {
        name: "from_outbound_session",
        call: |world| {
            let session = InboundMegolmSession::from_outbound_session(world.outbound())?;
            world.inbound.insert("own", session);
            Ok(())
        },
        ..STEP
    },
    Step {
        name: "get_session_key_for_sending",
        prepare: |world| world.input = recipients(world, 100),
        call: |world| {
            let keys = v(&world.outbound().get_session_key_for_sending(&world.input)?);
            world.judge.learn(&keys[0]["content"]);
            Ok(())
        },
        ..STEP
    },
    Step {
        name: "mark_as_sent",
        call: |world| {
            let devices = json!([world.judge.bob.device_keys()]).to_string();
            world.outbound().mark_as_sent(&devices)
        },
        ..STEP
    },
    Step {
        name: "OutboundMegolmSession.encrypt",
        prepare: |world| world.input.clear(),
        call: say_to_room,
        ..STEP
    },
    Step {
        name: "OutboundMegolmSession.encrypt with a reserved index",
        call: say_to_room,
        writes_nothing: true,
        ..STEP
    },
    Step { name: "OutboundMegolmSession.encrypt in the next block", call: say_to_room, ..STEP },
    Step {
        name: "get_session_key_for_sending in the middle of a block",
        prepare: |world| world.input = recipients(world, 90),
        call: |world| world.outbound().get_session_key_for_sending(&world.input).map(drop),
        ..STEP
    },
    Step {
        name: "Store.shut_down",
        call: |world| world.store.shut_down(),
        after: World::reopen,
        ..STEP
    },
    Step {
        name: "OutboundMegolmSession.encrypt after loading",
        prepare: |world| world.input.clear(),
        call: say_to_room,
        ..STEP
    },
    Step { name: "OutboundMegolmSession.encrypt in a new block", call: say_to_room, ..STEP },
    Step {
        name: "the end of the last handle on an outbound session",
        call: |world| {
            world.outbound = None;
            Ok(())
        },
        after: |world| {
            let session = OutboundMegolmSession::create_from_storage(world.account(), ROOM, None);
            world.outbound = session.ok();
        },
        tells_nobody: true,
        ..STEP
    },
    Step { name: "OutboundMegolmSession.encrypt with a new handle", call: say_to_room, ..STEP },
    Step { name: "OutboundMegolmSession.encrypt in its block", call: say_to_room, ..STEP },
    Step {
        name: "from_room_key",
        prepare: |world| {
            let mut late = world.room_key.clone();
            bob_writes(world, "$0");
            late["session_key"] = json!(world.room.session_key().to_base64());
            world.input = late.to_string();
        },
        call: from_room_key,
        ..STEP
    },
    Step {
        name: "from_room_key with a lower index",
        prepare: |world| world.input = world.room_key.to_string(),
        call: from_room_key,
        ..STEP
    },
    Step {
        name: "InboundMegolmSession.decrypt",
        prepare: |world| world.input = bob_writes(world, "$1").to_string(),
        call: |world| world.inbound["bob"].decrypt(&world.input).map(drop),
        is_relaxed: true,
        ..STEP
    },
    Step {
        name: "InboundMegolmSession.decrypt_many",
        prepare: |world| {
            let events = [bob_writes(world, "$2"), bob_writes(world, "$3")];
            world.input = json!(events).to_string();
        },
        call: |world| {
            let items = v(&world.inbound["bob"].decrypt_many(&world.input)?);
            assert!(items.as_array().unwrap().iter().all(|item| item.get("event").is_some()));
            Ok(())
        },
        is_relaxed: true,
        ..STEP
    },
    Step {
        name: "encrypt_for_devices",
        prepare: |world| world.input.clear(),
        call: say_to_several,
        ..STEP
    },
    Step { name: "Store.rekey", call: |world| world.store.rekey(NEW_STORE_KEY.to_vec()), ..STEP },
    Step {
        name: "decrypt_room_events",
        prepare: |world| {
            let events = [bob_writes(world, "$4"), bob_writes(world, "$5")];
            world.input = json!(events).to_string();
        },
        call: |world| {
            let items = v(&world.account().decrypt_room_events(&world.input)?);
            assert!(items.as_array().unwrap().iter().all(|item| item.get("event").is_some()));
            Ok(())
        },
        is_relaxed: true,
        ..STEP
    },
    Step {
        name: "decrypt of a replayed message",
        prepare: |world| {
            let mut event = v(&world.input)[0].clone();
            event["event_id"] = json!("$replay");
            world.input = event.to_string();
        },
        call: |world| {
            assert_eq!(world.inbound["bob"].decrypt(&world.input).unwrap_err().name(), "REPLAY");
            Ok(())
        },
        writes_nothing: true,
        ..STEP
    },
    Step {
        name: "InboundMegolmSession.erase",
        prepare: |world| world.input = world.inbound["own"].export_at(None).unwrap(),
        call: |world| world.inbound["own"].erase(),
        done_already: &["NOT_FOUND"],
        ..STEP
    },
    Step {
        name: "from_export",
        call: |world| {
            let session = InboundMegolmSession::from_export(world.account(), &world.input, None)?;
            world.inbound.insert("own", session);
            Ok(())
        },
        ..STEP
    },
    Step {
        name: "OutboundMegolmSession.create in the place of another session",
        prepare: |world| world.former = world.outbound.clone(),
        call: |world| {
            let settings = json!({ "reserve_ahead": RESERVED }).to_string();
            let session = OutboundMegolmSession::create(world.account(), ROOM, Some(settings))?;
            world.outbound = Some(session);
            Ok(())
        },
        after: |world| world.check_former(),
        ..STEP
    },
    Step { name: "invalidate", call: |world| world.outbound().invalidate(), ..STEP },
    Step {
        name: "OutboundMegolmSession.erase",
        call: |world| world.outbound().erase(),
        done_already: &["NOT_FOUND"],
        ..STEP
    },
];
