//! Trusted jobs by which stap's queries are listed and built.

use std::path::Path;

use stap_jail::plan::WorkspaceFile;

use super::collect::RESULTS;
use super::stage::{Stage, irregular, tmpdir};
use crate::driver::workspace_files;
use crate::jail::{Errand, Fault, Room};
use crate::warm::Variant;

impl Stage<'_> {
    /// A job without any user's input in which stap asks for whatever the script needs, and nothing
    /// is built: what is shown as the driver only takes note.
    ///
    /// # Errors
    ///
    /// When a path makes no plan.
    pub fn listing(&self, variant: Variant, script: &str, room: &Room) -> Result<Errand, Fault> {
        let mut arguments = self.server_arguments();
        arguments.push(tmpdir(room));
        if variant == Variant::Guru {
            arguments.push(b"-g".to_vec());
        }
        arguments.extend(["-p2", SCRIPT].map(|argument| argument.as_bytes().to_vec()));
        let path = Path::new("request").join(SCRIPT);
        let files = vec![WorkspaceFile {
            path: path.as_path().try_into().map_err(irregular)?,
            content: script.as_bytes().to_vec(),
        }];
        self.errand(self.name_of_query(), room, files, arguments, Vec::new())
    }

    /// A job without any user's input that runs kbuild as stap would, in a directory below that of
    /// results which holds these files.
    ///
    /// # Errors
    ///
    /// When a path makes no plan.
    pub fn query(
        &self,
        directory: &str,
        words: &[String],
        files: &[(String, Vec<u8>)],
        room: &Room,
    ) -> Result<Errand, Fault> {
        let place = Path::new(RESULTS).join(directory);
        let files = workspace_files(files, &place).map_err(irregular)?;
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let mut errand = self.errand(self.name_of_query(), room, files, words, Vec::new())?;
        let program = Path::new("/usr/bin/env");
        errand.command.program = program.try_into().map_err(irregular)?;
        Ok(errand)
    }

    /// A control group is named after it, so no two that run at once may have the same.
    fn name_of_query(&self) -> String {
        let build = self.served.target.build_id.get(..12).unwrap_or_default();
        format!("warm-{build}-{}-queries", self.slot.0)
    }
}

const SCRIPT: &str = "queries.stp";
