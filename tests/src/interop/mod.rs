//! Ours and stock SystemTap together: every release, both directions, one list of command lines.

pub mod answer;
pub mod column;
pub mod difference;
pub mod document;
pub mod matrix;
pub mod record;
pub mod rows;
pub mod sameness;
pub mod site;
pub mod verdict;

pub use self::site::Site;
