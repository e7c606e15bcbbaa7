//! What a coordinator asks of a worker that is to look at its host and not to serve.

use serde::{Deserialize, Serialize};

use crate::job::{Configuration, Layer, Target, Unusable};

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// As for serving. The policy in it is the one that is asked about.
    pub configuration: Configuration,
    /// The texts of other policies, to be judged for comparison.
    pub others: Vec<String>,
}

/// What was found. Nothing on the host has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// Every layer, in the order in which a job meets them, whatever a policy says of it.
    pub tried: Vec<Tried>,
    /// Whether swap is counted against a job's memory; `None` where there are no control groups.
    pub swap_is_bounded: Option<bool>,
    /// The policy in question, then the others in their order.
    pub judgements: Vec<Judgement>,
    /// What would be served under the policy in question.
    pub targets: Vec<Target>,
    /// Build trees that would not be served, with the reason.
    pub unusable: Vec<Unusable>,
    /// Why nothing is known about targets.
    pub obstacle: Option<String>,
}

/// One layer on this host, for the user that asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its name in policies and reports.
    pub name: String,
    /// Whether it was built for real.
    pub available: bool,
    /// What exactly holds, or what failed.
    pub detail: String,
    /// What would make it available; empty when it is.
    pub remedy: String,
}

/// What a worker would do under one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The policy's class.
    pub class: String,
    /// Every layer, as a worker that starts reports them.
    pub layers: Vec<Layer>,
    /// The words with which a worker refuses to start; `None` when it would start.
    pub refusal: Option<String>,
}
