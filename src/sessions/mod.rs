//! One device's sessions: its account, Olm channels with other devices, Megolm sessions of rooms.

pub(crate) mod account;
pub(crate) mod device_keys;
pub(crate) mod imports;
pub(crate) mod known_devices;
pub(crate) mod libolm_pickles;
pub(crate) mod megolm;
pub(crate) mod olm;
pub(crate) mod room_settings;
