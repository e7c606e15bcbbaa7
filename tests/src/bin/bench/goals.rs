//! What was to be reached, beside what was.

/// One ratio that was measured, and the bound that was set for it.
struct Goal {
    what: &'static str,
    against: &'static str,
    measured: f64,
    bound: Bound,
    best: Option<f64>,
}

/// How a ratio is judged.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// All that were measured.
#[derive(Default)]
pub(crate) struct Goals(Vec<Goal>);

impl Goals {
    /// Takes one.
    pub(crate) fn take(
        &mut self,
        what: &'static str,
        against: &'static str,
        measured: f64,
        bound: Bound,
    ) {
        self.take_beside_best(what, against, measured, bound, None);
    }

    /// Takes one, and what it would be if there were nothing to do but what stap and its compiler do.
    pub(crate) fn take_beside_best(
        &mut self,
        what: &'static str,
        against: &'static str,
        measured: f64,
        bound: Bound,
        best: Option<f64>,
    ) {
        self.0.push(Goal {
            what,
            against,
            measured,
            bound,
            best,
        });
    }

    /// Prints them all.
    pub(crate) fn print(&self) {
        println!("\n### What was to be reached\n");
        println!("| what | against | ratio | bound | |");
        println!("|---|---|---|---|---|");
        for goal in &self.0 {
            println!("{}", goal.row());
        }
    }
}

impl Goal {
    fn row(&self) -> String {
        let (what, against, measured) = (self.what, self.against, self.measured);
        let (bound, holds) = match self.bound {
            Bound::AtMost(most) => (format!("at most {most:.2}"), measured <= most),
            Bound::AtLeast(least) => (format!("at least {least:.2}"), measured >= least),
        };
        let verdict = if holds { "holds" } else { "**missed**" };
        let best = self.best.map(|best| format!("; {best:.3} at best"));
        let best = best.unwrap_or_default();
        format!("| {what} | {against} | {measured:.3} | {bound} | {verdict}{best} |")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_held_or_missed() {
        for (measured, bound, best, told) in [
            (
                0.5,
                Bound::AtMost(0.5),
                None,
                "0.500 | at most 0.50 | holds |",
            ),
            (
                0.5004,
                Bound::AtMost(0.5),
                None,
                "0.500 | at most 0.50 | **missed** |",
            ),
            (
                2.5,
                Bound::AtLeast(2.5),
                None,
                "2.500 | at least 2.50 | holds |",
            ),
            (
                2.4,
                Bound::AtLeast(2.5),
                Some(2.6),
                "2.400 | at least 2.50 | **missed**; 2.600 at best |",
            ),
            (
                f64::NAN,
                Bound::AtMost(0.5),
                None,
                "NaN | at most 0.50 | **missed** |",
            ),
        ] {
            let goal = Goal {
                what: "this",
                against: "that",
                measured,
                bound,
                best,
            };
            assert_eq!(goal.row(), format!("| this | that | {told}"));
        }
    }
}
