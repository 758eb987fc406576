//! Who serves a slot.
