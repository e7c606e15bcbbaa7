//! Packages that do not play fair, each with the reason for which it is refused, and the corpus of
//! the fuzz targets, which is made of them.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod archives;
mod corpus;
mod forge;
mod replies;
mod requests;
mod several;
mod words;

/// A package with a name, for the corpus.
type Seed<E> = (&'static str, Vec<u8>, E);
