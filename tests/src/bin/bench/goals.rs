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
            let (what, against, measured) = (goal.what, goal.against, goal.measured);
            let (bound, holds) = match goal.bound {
                Bound::AtMost(most) => (format!("at most {most:.2}"), measured <= most),
                Bound::AtLeast(least) => (format!("at least {least:.2}"), measured >= least),
            };
            let verdict = if holds { "holds" } else { "**missed**" };
            let best = goal.best.map(|best| format!("; {best:.3} at best"));
            let best = best.unwrap_or_default();
            println!("| {what} | {against} | {measured:.3} | {bound} | {verdict}{best} |");
        }
    }
}
