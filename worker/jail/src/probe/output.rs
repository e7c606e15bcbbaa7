//! The answer of `stap-jail --probe`: for people, for scripts, for the worker.

use std::io::{self, Write};

use super::ProbedLayer;

/// How the answer is written.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// For people.
    Table,
    /// For scripts.
    Json,
    /// For [`super::layers`].
    Encoded,
}

pub(crate) fn write(form: Form, layers: &[ProbedLayer], to: &mut impl Write) -> io::Result<()> {
    match form {
        Form::Table => layers.iter().try_for_each(|layer| write_row(layer, to)),
        Form::Json => write_json(layers, to),
        Form::Encoded => to.write_all(&postcard::to_stdvec(layers).map_err(io::Error::other)?),
    }
}

fn write_row(probed: &ProbedLayer, to: &mut impl Write) -> io::Result<()> {
    let available = if probed.available { "ok" } else { "NO" };
    writeln!(
        to,
        "{:<17} {available}  {}",
        probed.layer.name(),
        probed.detail
    )?;
    if probed.remedy.is_empty() {
        return Ok(());
    }
    writeln!(to, "{:22}{}", "", probed.remedy)
}

/// Four strings in a list are no reason to have a JSON library in the trusted base.
fn write_json(layers: &[ProbedLayer], to: &mut impl Write) -> io::Result<()> {
    for (at, probed) in layers.iter().enumerate() {
        write!(to, "{}\n  {{", if at == 0 { "[" } else { "," })?;
        write!(to, "\"available\": {}", probed.available)?;
        let texts = [
            ("layer", probed.layer.name()),
            ("detail", &probed.detail),
            ("remedy", &probed.remedy),
        ];
        for (name, text) in texts {
            write!(to, ", \"{name}\": ")?;
            write_quoted(text, to)?;
        }
        write!(to, "}}")?;
    }
    writeln!(to, "\n]")
}

fn write_quoted(text: &str, to: &mut impl Write) -> io::Result<()> {
    write!(to, "\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(to, "\\{character}")?,
            control if u32::from(control) < 0x20 => write!(to, "\\u{:04x}", u32::from(control))?,
            plain => write!(to, "{plain}")?,
        }
    }
    write!(to, "\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Layer;

    #[test]
    fn any_detail_is_readable_json() {
        let layers: Vec<_> = [Layer::User, Layer::NoNewPrivs]
            .map(|layer| ProbedLayer {
                layer,
                available: false,
                detail: "a \"quote\", a \\, a\nline, a\u{1}control, \u{20ac}".to_owned(),
                remedy: String::new(),
            })
            .into();
        let mut bytes = Vec::new();
        write(Form::Json, &layers, &mut bytes).unwrap();
        assert_eq!(
            serde_json::from_slice::<Vec<ProbedLayer>>(&bytes).unwrap(),
            layers
        );
    }
}
