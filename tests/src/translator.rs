//! What the stand-in for stap saw, as the client replayed it.

use crate::finished::Finished;

/// One run of the stand-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Every argument, the server's own ones included.
    pub arguments: Vec<Vec<u8>>,
    /// Files of the request, by their paths below the working directory.
    pub files: Vec<String>,
    /// The values of `LANG` and `LC_COLLATE`.
    pub locale: String,
}

impl Seen {
    /// Reads the only run that the client's stderr reports.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[must_use]
    pub fn by(client: &Finished) -> Self {
        Self::told(&client.err())
    }

    /// Reads the only run that a reply's stderr reports.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[must_use]
    pub fn told(said: &str) -> Self {
        let lines = || {
            said.lines()
                .filter_map(|line| line.strip_prefix("fakestap: "))
        };
        let runs = lines().filter(|line| line.starts_with("cwd ")).count();
        assert_eq!(runs, 1, "stap was to run once\n{said}");
        let after = |word: &'static str| lines().filter_map(move |line| line.strip_prefix(word));
        let path = |file: &str| file.rsplit_once(' ').map(|(path, _size)| path.to_owned());
        Self {
            arguments: after("argument ").map(bytes).collect(),
            files: after("file ./").filter_map(path).collect(),
            locale: after("locale ").collect(),
        }
    }

    /// The client's part of the arguments, behind the server's mark.
    ///
    /// # Panics
    /// When the mark is missing.
    #[must_use]
    pub fn client_arguments(&self) -> Vec<String> {
        let own = self.client_bytes().iter();
        own.map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect()
    }

    /// The script's own arguments, byte for byte.
    ///
    /// # Panics
    /// When the server's mark is missing.
    #[must_use]
    pub fn script_bytes(&self) -> &[Vec<u8>] {
        let all = self.client_bytes();
        let mark = all.iter().position(|argument| argument == b"--");
        mark.map_or(&[], |mark| &all[mark + 1..])
    }

    fn client_bytes(&self) -> &[Vec<u8>] {
        let mark = self
            .arguments
            .iter()
            .position(|argument| argument == b"--client-options");
        let own = mark.expect("the server marks where the client's options begin") + 1;
        &self.arguments[own..]
    }

    /// Whether an option reached stap, with its value attached or apart.
    #[must_use]
    pub fn has(&self, option: &str, value: &str) -> bool {
        let arguments = self.client_arguments();
        let attached = format!("{option}{value}");
        arguments.contains(&attached)
            || arguments
                .windows(2)
                .any(|pair| pair[0] == option && pair[1] == value)
    }

    /// What follows the `--`: the script's own arguments.
    #[must_use]
    pub fn script_arguments(&self) -> Vec<String> {
        let arguments = self.client_arguments();
        arguments
            .into_iter()
            .skip_while(|argument| argument != "--")
            .skip(1)
            .collect()
    }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<_> = hexadecimal
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits fit");
    digits.chunks_exact(2).map(byte).collect()
}
