//! The password of the NSS store beside our files (`pw`).
//!
//! Our own key file has no password: it would have to lie next to it. The file's mode protects both.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::issue::IssueError;

/// The password of an NSS key store.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Whether a server wants its NSS key store to have a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordRule {
    /// Use the one in `pw` when there is one.
    #[default]
    AsFound,
    /// Make one when there is none (`-P`).
    Required,
}

/// The largest password file. Only its first line counts.
pub(crate) const MAX_PASSWORD_BYTES: usize = 4096;

impl Password {
    /// Reads the first line of the file's bytes, which CR, LF or NUL end; nothing is no password.
    pub(crate) fn from_file_bytes(bytes: &[u8]) -> Option<Self> {
        let line = bytes.split(|byte| b"\r\n\0".contains(byte)).next()?;
        let line = String::from_utf8_lossy(line);
        (!line.is_empty()).then(|| Self(line.into_owned()))
    }

    /// Makes a password of [`LENGTH`] letters and digits from the system's randomness.
    pub(crate) fn generate() -> Result<Self, IssueError> {
        let mut password = String::with_capacity(LENGTH);
        while password.len() < LENGTH {
            let mut octet = [0_u8; 1];
            getrandom(&mut octet, GetRandomFlags::empty())?;
            // Values beyond the last whole multiple would make some letters likelier than others.
            let index = usize::from(octet[0]);
            if index < 256 / LETTERS.len() * LETTERS.len() {
                password.push(char::from(LETTERS[index % LETTERS.len()]));
            }
        }
        Ok(Self(password))
    }

    /// The password itself.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    pub(crate) fn file_bytes(&self) -> Vec<u8> {
        format!("{}\n", self.0).into_bytes()
    }
}

/// Shows that there is a password and nothing of it.
impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password(secret)")
    }
}

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// As long as the passwords that the first servers made.
const LENGTH: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_counts() {
        let read = |bytes: &[u8]| Password::from_file_bytes(bytes).map(|password| password.0);
        assert_eq!(read(b"secret\nmore\n").as_deref(), Some("secret"));
        assert_eq!(read(b"secret\r\n").as_deref(), Some("secret"));
        assert_eq!(read(b"secret\0x").as_deref(), Some("secret"));
        assert_eq!(read(b"secret").as_deref(), Some("secret"));
        assert_eq!(read(b"\nsecret"), None);
        assert_eq!(read(b""), None);
    }

    #[test]
    fn a_password_that_was_made_is_long_new_and_read_back() {
        let password = Password::generate().unwrap();
        assert_eq!(password.secret().len(), LENGTH);
        assert!(
            password
                .secret()
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric())
        );
        assert_ne!(password, Password::generate().unwrap());
        assert_eq!(
            Password::from_file_bytes(&password.file_bytes()),
            Some(password)
        );
    }

    #[test]
    fn a_password_is_in_no_debug_text() {
        let password = Password("hunter2".to_owned());
        assert_eq!(format!("{password:?}"), "Password(secret)");
    }
}
