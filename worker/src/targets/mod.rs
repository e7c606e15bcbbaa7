pub mod identity;
pub mod root;
pub mod tree;
