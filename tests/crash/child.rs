//! The child: does what the parent tells it on one store, until it is killed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use matrixe2ee::{
    Account, E2eeError, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Result, Store,
};
use serde_json::{Value, json};

use super::power;
use super::protocol::{Answer, Command, DEVICE, OPENING, Op, Partner, STORE_KEYS, USER};

/// Serves the parent on standard input and output. Every answer is written at once, unbuffered:
/// what the library has returned is out before the next call is made.
pub fn run(store: &str) {
    let mut output = File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
    // The test harness may have begun a line of its own.
    write_line(&mut output, &format!("\n{OPENING}"));
    let mut child = Child::open(store).unwrap();
    for line in std::io::stdin().lock().lines() {
        let command: Command = serde_json::from_str(&line.unwrap()).unwrap();
        if command.fresh {
            child.forget_handles();
        }
        let last = matches!(command.op, Op::ShutDown);
        power::mark(store);
        let result = child.execute(command.op).map_err(|error| parse(&error.to_json()));
        let answer = Answer { id: command.id, result, log: power::log_length(store) };
        write_line(&mut output, &serde_json::to_string(&answer).unwrap());
        if last {
            break;
        }
    }
}

fn write_line(output: &mut File, line: &str) {
    output.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

struct Child {
    store: Arc<Store>,
    /// What opened it.
    key: u8,
    account: Arc<Account>,
    channels: HashMap<String, Arc<OlmChannel>>,
    outbound: HashMap<String, Arc<OutboundMegolmSession>>,
    inbound: HashMap<String, Arc<InboundMegolmSession>>,
}

impl Child {
    fn open(path: &str) -> Result<Self> {
        let [first, second] = STORE_KEYS;
        let (store, key) = match Store::open_sqlite(path, vec![first; 32]) {
            Err(E2eeError::WrongKey { .. }) => {
                (Store::open_sqlite(path, vec![second; 32])?, second)
            }
            other => (other?, first),
        };
        let account = Account::open(&store, USER, DEVICE)?;
        Ok(Self {
            store,
            key,
            account,
            channels: HashMap::new(),
            outbound: HashMap::new(),
            inbound: HashMap::new(),
        })
    }

    fn forget_handles(&mut self) {
        self.channels.clear();
        self.outbound.clear();
        self.inbound.clear();
    }

    fn execute(&mut self, op: Op) -> Result<Value> {
        match op {
            Op::Report { partners, rooms } => self.report(&partners, &rooms),
            Op::UploadRequest => Ok(json!(self.account.keys_upload_request()?)),
            Op::UploadResponse { status, body } => {
                self.account.receive_keys_upload_response(status, &body).map(done)
            }
            Op::KeyCounts { counts, fallback_types } => {
                self.account.receive_key_counts(&counts, fallback_types).map(done)
            }
            Op::Rekey { key } => self.store.rekey(vec![key; 32]).map(done),
            Op::ShutDown => self.store.shut_down().map(done),
            Op::CreateChannel { .. }
            | Op::AddSession { .. }
            | Op::SetDeviceKeys { .. }
            | Op::Encrypt { .. }
            | Op::EncryptForDevices { .. }
            | Op::Receive { .. }
            | Op::EraseChannel { .. } => self.execute_olm(op),
            Op::RoomKey { .. }
            | Op::Export { .. }
            | Op::Decrypt { .. }
            | Op::EraseInbound { .. } => self.execute_inbound(op),
            _ => self.execute_outbound(op),
        }
    }

    fn execute_olm(&mut self, op: Op) -> Result<Value> {
        match op {
            Op::CreateChannel { device_keys, one_time_key } => {
                let channel = OlmChannel::create_outbound_channel(
                    &self.account,
                    &device_keys,
                    &one_time_key,
                )?;
                let partner: Partner =
                    serde_json::from_value(parse(&channel.partner()?)).expect("a partner");
                self.channels.insert(partner.key(), channel);
                Ok(Value::Null)
            }
            Op::AddSession { partner, one_time_key } => {
                self.channel(&partner)?.add_outbound_olm_session(&one_time_key).map(done)
            }
            Op::SetDeviceKeys { partner, device_keys } => {
                self.channel(&partner)?.set_partner_device_keys(&device_keys).map(done)
            }
            Op::Encrypt { partner, event_type, content } => {
                let encrypted =
                    self.channel(&partner)?.encrypt(&event_type, &content.to_string())?;
                Ok(json!({ "plaintext": content, "encrypted": parse(&encrypted) }))
            }
            Op::EncryptForDevices { items } => {
                let list: Vec<Value> = items
                    .iter()
                    .map(|(partner, content)| {
                        json!({
                            "user_id": partner.user_id, "identity_key": partner.identity_key,
                            "type": "org.test.message", "content": content,
                        })
                    })
                    .collect();
                let answers = parse(&self.account.encrypt_for_devices(&json!(list).to_string())?);
                let answer = |((_, content), answer): (&(Partner, Value), &Value)| json!({ "plaintext": content, "encrypted": answer["content"] });
                let answers = answers.as_array().expect("a list");
                Ok(items.iter().zip(answers).map(answer).collect())
            }
            Op::Receive { partner, content } => self.receive(&partner, &content),
            Op::EraseChannel { partner } => {
                self.channel(&partner)?.erase()?;
                self.channels.remove(&partner.key());
                Ok(Value::Null)
            }
            _ => unreachable!("not an Olm operation"),
        }
    }

    fn receive(&mut self, partner: &Partner, content: &str) -> Result<Value> {
        match self.channel(partner) {
            Ok(channel) => Ok(parse(&channel.decrypt(content)?)),
            Err(E2eeError::NotFound { .. }) => {
                let channel = OlmChannel::create_from_encrypted_message(
                    &self.account,
                    &partner.user_id,
                    &partner.identity_key,
                    content,
                    None,
                    None,
                )?;
                let event = channel.first_event();
                self.channels.insert(partner.key(), channel);
                Ok(parse(&event?))
            }
            Err(error) => Err(error),
        }
    }

    fn channel(&mut self, partner: &Partner) -> Result<Arc<OlmChannel>> {
        if let Some(channel) = self.channels.get(&partner.key()) {
            return Ok(Arc::clone(channel));
        }
        let channel = OlmChannel::create_from_storage(
            &self.account,
            &partner.user_id,
            &partner.identity_key,
        )?;
        self.channels.insert(partner.key(), Arc::clone(&channel));
        Ok(channel)
    }

    fn execute_inbound(&mut self, op: Op) -> Result<Value> {
        let session = match op {
            Op::RoomKey { partner, content } => InboundMegolmSession::from_room_key(
                &self.account,
                &partner.user_id,
                &partner.identity_key,
                &content,
            )?,
            Op::Export { data } => InboundMegolmSession::from_export(&self.account, &data, None)?,
            Op::Decrypt { room_id, session_id, events } => {
                return self.decrypt(&room_id, &session_id, &events);
            }
            Op::EraseInbound { room_id, session_id } => {
                self.inbound(&room_id, &session_id)?.erase()?;
                self.inbound.remove(&session_id);
                return Ok(Value::Null);
            }
            _ => unreachable!("not an operation of inbound sessions"),
        };
        acknowledge(&session)
    }

    fn decrypt(&mut self, room_id: &str, session_id: &str, events: &[Value]) -> Result<Value> {
        let session = self.inbound(room_id, session_id)?;
        if let [event] = events {
            let item = match session.decrypt(&event.to_string()) {
                Ok(event) => json!({ "event": parse(&event) }),
                Err(error) => json!({ "error": parse(&error.to_json()) }),
            };
            return Ok(json!([item]));
        }
        let events = json!(events).to_string();
        // Both ways, as the number of events has it.
        if events.len().is_multiple_of(2) {
            Ok(parse(&session.decrypt_many(&events)?))
        } else {
            Ok(parse(&self.account.decrypt_room_events(&events)?))
        }
    }

    fn inbound(&mut self, room_id: &str, session_id: &str) -> Result<Arc<InboundMegolmSession>> {
        if let Some(session) = self.inbound.get(session_id) {
            return Ok(Arc::clone(session));
        }
        let session = InboundMegolmSession::from_storage(&self.account, room_id, session_id, None)?;
        self.inbound.insert(session_id.to_owned(), Arc::clone(&session));
        Ok(session)
    }

    fn execute_outbound(&mut self, op: Op) -> Result<Value> {
        match op {
            Op::CreateOutbound { room_id, settings } => {
                let session = OutboundMegolmSession::create(&self.account, &room_id, settings)?;
                let session_id = session.session_id()?;
                self.outbound.insert(room_id, session);
                Ok(json!(session_id))
            }
            Op::OwnInbound { room_id } => {
                let outbound = self.outbound(&room_id)?;
                let session = InboundMegolmSession::from_outbound_session(&outbound)?;
                let mut acknowledged = acknowledge(&session)?;
                acknowledged["export"] = parse(&session.export_at(None)?);
                Ok(acknowledged)
            }
            Op::Share { room_id, recipients } => {
                Ok(parse(&self.outbound(&room_id)?.get_session_key_for_sending(&recipients)?))
            }
            Op::MarkAsSent { room_id, devices } => {
                self.outbound(&room_id)?.mark_as_sent(&devices).map(done)
            }
            Op::EncryptRoom { room_id, content } => {
                let encrypted =
                    self.outbound(&room_id)?.encrypt("m.room.message", &content.to_string())?;
                Ok(json!({ "plaintext": content, "encrypted": parse(&encrypted) }))
            }
            Op::Invalidate { room_id } => self.outbound(&room_id)?.invalidate().map(done),
            _ => unreachable!("not an operation of outbound sessions"),
        }
    }

    fn outbound(&mut self, room_id: &str) -> Result<Arc<OutboundMegolmSession>> {
        if let Some(session) = self.outbound.get(room_id) {
            return Ok(Arc::clone(session));
        }
        let session = OutboundMegolmSession::create_from_storage(&self.account, room_id, None)?;
        self.outbound.insert(room_id.to_owned(), Arc::clone(&session));
        Ok(session)
    }

    fn report(&mut self, partners: &[Partner], rooms: &[String]) -> Result<Value> {
        let mut channels = Vec::new();
        for partner in partners {
            channels.push(match found(self.channel(partner))? {
                Some(channel) => json!({
                    "partner": parse(&channel.partner()?),
                    "session_count": channel.session_count()?,
                }),
                None => Value::Null,
            });
        }
        let mut outbound = Vec::new();
        for room_id in rooms {
            outbound.push(match found(self.outbound(room_id))? {
                Some(session) => json!({
                    "session_id": session.session_id()?,
                    "message_index": session.message_index()?,
                }),
                None => Value::Null,
            });
        }
        Ok(json!({
            "key": self.key,
            "identity_key": self.account.identity_key()?,
            "device_keys": parse(&self.account.device_keys()?),
            "channels": channels,
            "outbound": outbound,
            "inbound": parse(&self.account.list_sessions(None, None, None)?),
        }))
    }
}

fn acknowledge(session: &InboundMegolmSession) -> Result<Value> {
    Ok(json!({
        "session_id": session.session_id()?,
        "first_known_index": session.first_known_index()?,
        "authenticated": session.authenticated()?,
    }))
}

fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(E2eeError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn done((): ()) -> Value {
    Value::Null
}
