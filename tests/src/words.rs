//! Arguments as no well-meaning user would give them: those that once broke a server, and random ones.

use std::hash::{BuildHasher, RandomState};

/// What a shell, a C function for strings, a parser of options or a line of a log would take apart.
pub const NASTY: [&[u8]; 28] = [
    b"",
    b" ",
    b"two words",
    b" in front and behind ",
    b"\t",
    b"new\nline",
    b"\n",
    b"carriage\r\nreturn",
    b"'",
    b"\"",
    b"it's \"quoted\" `twice`",
    b"\\",
    b"back\\slash\\",
    b";",
    b"; touch /tmp/owned",
    b"$(touch /tmp/owned)",
    b"`touch /tmp/owned`",
    b"$HOME ${IFS} $1 $@",
    b"&& || | & > < >> 2>&1",
    b"*",
    b"/etc/* ?? [a-z] {a,b} ~root",
    b"-",
    b"--",
    b"-p4",
    b"--tmpdir=/ --sign-module",
    b"%s%n%d",
    b"\xff\xfe latin-\xe9 \x80",
    "日本語 é \u{202e}".as_bytes(),
];

/// Of which most random arguments are made.
const SIGNS: &[u8] = b" '\"\\;$()*?[]{}<>|&!#~=-%`\n\tab01/.,:@+^_";

/// Names a run, to be given to another one that is to be the same.
pub const SEED: &str = "STAP_TEST_SEED";

/// An endless row of lists of arguments.
#[derive(Clone, Debug)]
pub struct Words {
    /// What the row follows from.
    pub seed: u64,
    state: u64,
}

impl Words {
    /// The row that [`SEED`] names, or else any.
    ///
    /// # Panics
    /// When it names none.
    #[must_use]
    pub fn of_this_run() -> Self {
        let named = std::env::var(SEED).ok();
        let number = |text: String| {
            text.parse()
                .unwrap_or_else(|_| panic!("{SEED} is a number"))
        };
        let seed = named.map_or_else(|| RandomState::new().hash_one(SEED), number);
        Self { seed, state: seed }
    }

    /// The next lists, one behind the other.
    #[must_use]
    pub fn joined(&mut self, lists: usize) -> Vec<Vec<u8>> {
        (0..lists).flat_map(|_| self.list()).collect()
    }

    /// The next list: one to six arguments.
    #[must_use]
    pub fn list(&mut self) -> Vec<Vec<u8>> {
        let length = 1 + self.below(6);
        (0..length).map(|_| self.word()).collect()
    }

    fn word(&mut self) -> Vec<u8> {
        match self.below(8) {
            0 | 1 => NASTY[self.below(NASTY.len())].to_vec(),
            2 if self.below(16) == 0 => vec![b'x'; 3000],
            2..=4 => self.bytes(|random| u8::try_from(1 + random % 255).expect("it fits")),
            _ => self.bytes(|random| SIGNS[random % SIGNS.len()]),
        }
    }

    fn bytes(&mut self, byte: impl Fn(usize) -> u8) -> Vec<u8> {
        let length = self.below(25);
        (0..length).map(|_| byte(self.below(1 << 16))).collect()
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("bounds are small");
        usize::try_from(self.next() % bound).expect("it is below the bound")
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
