//! Where a result is from, for clients that ask. Stock clients do not, and are not told.

/// What a server that keeps results did for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It had the result.
    Hit,
    /// It made the result for this request.
    Miss,
    /// It was making the result for another request.
    Joined,
    /// It made the result, and keeps none like it.
    Off,
}

impl Origin {
    const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Joined, Self::Off];

    /// The word for it in replies and logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Joined => "joined",
            Self::Off => "off",
        }
    }

    /// What a word says; `None` for one of a later version.
    pub(super) fn of_word(word: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|origin| origin.word().as_bytes() == word)
    }
}
