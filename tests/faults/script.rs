//! A device's life: every call that persists something.

use super::world::World;
use super::{script_olm, script_rooms};
use crate::error::Result;

/// One call.
pub(super) struct Step {
    pub(super) name: &'static str,
    /// What others do before it.
    pub(super) prepare: fn(&mut World),
    pub(super) call: fn(&mut World) -> Result<()>,
    /// What a retry answers if the call has taken effect in spite of its error.
    pub(super) done_already: &'static [&'static str],
    /// What the caller does then.
    pub(super) recover: fn(&mut World),
    /// What the caller does after the call, whatever came of it.
    pub(super) after: fn(&mut World),
    /// Whether a failed commit is kept from the caller, for whom it changes nothing.
    pub(super) tells_nobody: bool,
    /// Whether its commit may be lost when the power fails: of replay records alone.
    pub(super) is_relaxed: bool,
    /// Whether it makes no commit.
    pub(super) writes_nothing: bool,
}

pub(super) const STEP: Step = Step {
    name: "",
    prepare: |_| {},
    call: |_| Ok(()),
    done_already: &[],
    recover: |_| {},
    after: |_| {},
    tells_nobody: false,
    is_relaxed: false,
    writes_nothing: false,
};

/// All steps in their order.
pub(super) fn script() -> Vec<&'static Step> {
    let parts = [script_olm::BEGINNING, script_rooms::ROOMS, script_olm::END];
    parts.into_iter().flatten().collect()
}
