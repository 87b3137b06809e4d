//! What comes over the wire: one bad item spoils no other, a device that comes back with other keys
//! is refused, and what is encrypted can be sent and read.

#[path = "wire/items.rs"]
mod items;
#[path = "wire/known_devices.rs"]
mod known_devices;
#[path = "common/rooms.rs"]
mod rooms;
#[path = "wire/sizes.rs"]
mod sizes;
