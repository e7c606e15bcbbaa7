//! Certificate databases: what they hold, who may use them, and how certificates are made.
#![forbid(unsafe_code)]
