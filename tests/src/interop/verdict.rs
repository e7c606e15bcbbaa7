//! How an answer compares with bare stap's and with the one that stock's own pair gives.

use super::answer::Answer;
use super::column::{Column, Pair, Side, Who};
use super::record::Record;
use super::rows::Row;
use super::sameness::comparable;

/// How an answer compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Equal to bare stap's.
    Equal,
    /// Other than bare stap's, equal to that of a stock client with a stock server.
    AsStock,
    /// Other than both.
    Differs,
}

/// Bare stap and stock's own pair in the same root.
#[derive(Clone, Debug)]
pub struct References {
    /// stap alone.
    pub bare: Record,
    /// Stock's own pair; its user is the ordinary one.
    pub stock: Record,
}

impl References {
    /// What a pair is compared with.
    #[must_use]
    pub const fn columns(pair: Pair) -> [Column; 2] {
        [Column::Bare(pair.who), Column::Pair(STOCK_STOCK)]
    }

    /// Judges an answer. None where the row was not asked.
    #[must_use]
    pub fn judge(&self, row: &Row, answer: &Answer) -> Option<Verdict> {
        let is = |record: &Record| {
            let reference = record.answer(row)?;
            Some(comparable(row, answer) == comparable(row, reference))
        };
        Some(match (is(&self.bare)?, is(&self.stock)?) {
            (true, _) => Verdict::Equal,
            (false, true) => Verdict::AsStock,
            (false, false) => Verdict::Differs,
        })
    }
}

/// Stock's own pair.
pub const STOCK_STOCK: Pair = Pair {
    client: Side::Stock,
    server: Side::Stock,
    who: Who::User,
};
/// Our server in the place of the stock one.
pub const STOCK_OURS: Pair = Pair {
    server: Side::Ours,
    ..STOCK_STOCK
};
/// The same, asked by the administrator.
pub const STOCK_OURS_ROOT: Pair = Pair {
    who: Who::Root,
    ..STOCK_OURS
};
/// Our client in the place of the stock one.
pub const OURS_STOCK: Pair = Pair {
    client: Side::Ours,
    ..STOCK_STOCK
};
/// Both ours.
pub const OURS_OURS: Pair = Pair {
    client: Side::Ours,
    ..STOCK_OURS
};

/// What is tried, in the order of the document.
pub const PAIRS: [(Pair, &str); 5] = [
    (STOCK_STOCK, "stock → stock"),
    (STOCK_OURS, "stock → ours"),
    (STOCK_OURS_ROOT, "stock → ours, as root"),
    (OURS_STOCK, "ours → stock"),
    (OURS_OURS, "ours → ours"),
];
