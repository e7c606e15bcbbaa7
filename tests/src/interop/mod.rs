//! Ours and stock SystemTap together: every release, both directions, one list of command lines.

pub mod site;

pub use self::site::Site;
