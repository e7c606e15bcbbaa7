//! What operators allow: limits, layers, options; read from TOML, checked before use.
#![forbid(unsafe_code)]
