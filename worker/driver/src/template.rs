//! Text with places for the name of a module and of one of its objects.
//!
//! A recording is made under a name that occurs nowhere else, so that every place where it is found
//! means the module. Places are marked by control characters, which no recorded text may hold.

/// A recorded text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Takes a recorded text; `None` when it holds control characters other than tabs and ends of
    /// lines.
    #[must_use]
    pub fn of(text: &str, module: &str, object: Option<&str>) -> Option<Self> {
        let is_odd = |character: char| character.is_control() && !"\t\n".contains(character);
        if text.contains(is_odd) {
            return None;
        }
        // The name of an object begins with that of the module, so it comes first.
        let mut marked = text.to_owned();
        if let Some(object) = object {
            marked = marked.replace(object, OBJECT);
        }
        Some(Self(marked.replace(module, MODULE)))
    }

    /// Takes what [`Self::as_str`] gave.
    #[must_use]
    pub fn marked(text: String) -> Self {
        Self(text)
    }

    /// With the marks in it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text for another module and another of its objects.
    #[must_use]
    pub fn fill(&self, module: &str, object: &str) -> String {
        self.0.replace(OBJECT, object).replace(MODULE, module)
    }
}

const MODULE: &str = "\u{1}";
const OBJECT: &str = "\u{2}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_filled_with_the_recorded_names_is_the_recorded_text() {
        let text = "gcc -DKBUILD_MODNAME='\"rec\"' -o /w/rec_src.o /w/rec_src.c";
        let template = Template::of(text, "rec", Some("rec_src")).unwrap();
        assert_eq!(template.fill("rec", "rec_src"), text);
        assert_eq!(
            template.fill("other", "stap_symbols"),
            "gcc -DKBUILD_MODNAME='\"other\"' -o /w/stap_symbols.o /w/stap_symbols.c"
        );
    }

    #[test]
    fn a_text_that_holds_marks_already_is_none() {
        assert_eq!(Template::of("a\u{1}b", "rec", None), None);
    }
}
