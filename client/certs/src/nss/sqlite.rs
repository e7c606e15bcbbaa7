//! Reading a table of an SQLite 3 file that lies in memory.
//!
//! NSS keeps its stores in such files. This is the part of the format that they use: tables with row
//! ids in a file with a rollback journal. Nothing in the bytes is believed: every page is visited at
//! most once, every size is held against what is there, and what is not understood is an error, never
//! a guess. The format is described at <https://www.sqlite.org/fileformat2.html>.

use std::borrow::Cow;

/// A file's bytes with a header that was understood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Database<'a> {
    bytes: &'a [u8],
    page_size: usize,
    /// What is left of a page without the bytes that extensions reserve at its end.
    usable: usize,
}

/// A table's place and the names of its columns.
#[derive(Debug)]
pub(super) struct Table {
    root: u32,
    columns: Vec<String>,
}

/// One row: the blobs in it, in the order of the columns.
#[derive(Debug)]
pub(super) struct Row<'t> {
    table: &'t Table,
    blobs: Vec<Option<Vec<u8>>>,
}

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SqliteError {
    #[error("it is not an SQLite 3 database")]
    NotADatabase,
    #[error("its format is newer than what is understood")]
    Unknown,
    #[error("it is damaged")]
    Damaged,
    #[error("it holds more than a certificate database may")]
    TooMuch,
}

/// The most rows of one table. An NSS store has two or three for each certificate.
const MAX_ROWS: usize = 16 * 1024;

/// The largest row. A certificate's has a few kilobytes.
const MAX_ROW_BYTES: usize = 512 * 1024;

/// The most columns of a table. NSS has about 150, one for each attribute that it knows.
const MAX_COLUMNS: usize = 1024;

/// Deeper trees than this one need more rows than are read.
const MAX_DEPTH: usize = 12;

impl<'a> Database<'a> {
    /// Reads the header.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, SqliteError> {
        if !bytes.starts_with(MAGIC) || bytes.len() < HEADER {
            return Err(SqliteError::NotADatabase);
        }
        // Versions of the format for writing and reading: 1 is a rollback journal. Of a file with a
        // write-ahead log, the newest pages would be elsewhere.
        if bytes[18..20] != [1, 1] || bytes[21..24] != [64, 32, 32] || be(bytes, 56, 4)? != UTF_8 {
            return Err(SqliteError::Unknown);
        }
        let page_size = match be(bytes, 16, 2)? {
            1 => 65536,
            size if size >= 512 && size.is_power_of_two() => size,
            _ => return Err(SqliteError::Damaged),
        };
        let usable = page_size - usize::from(bytes[20]);
        // The number of pages counts when it was written with the last change.
        let pages = be(bytes, 28, 4)?;
        let is_counted = bytes[24..28] == bytes[92..96];
        let is_cut = is_counted && bytes.len() / page_size < pages;
        if usable < MIN_USABLE || is_cut {
            return Err(SqliteError::Damaged);
        }
        Ok(Self {
            bytes,
            page_size,
            usable,
        })
    }

    /// Finds a table by its name.
    pub(super) fn table(&self, name: &str) -> Result<Option<Table>, SqliteError> {
        let schema = Table {
            root: 1,
            columns: SCHEMA.map(str::to_owned).to_vec(),
        };
        let mut found = None;
        self.cells(&schema, &mut |values| {
            if text(values, 0) == Some("table") && text(values, 1) == Some(name) {
                let root = match values.get(3) {
                    Some(Value::Integer(root)) => u32::try_from(*root).ok(),
                    _ => None,
                };
                found = Some(root.zip(text(values, 4).map(columns)));
            }
        })?;
        let Some(found) = found else { return Ok(None) };
        let (root, columns) = found.ok_or(SqliteError::Damaged)?;
        if columns.len() > MAX_COLUMNS {
            return Err(SqliteError::TooMuch);
        }
        Ok(Some(Table { root, columns }))
    }

    /// Reads every row of a table.
    pub(super) fn rows<'t>(&self, table: &'t Table) -> Result<Vec<Row<'t>>, SqliteError> {
        let mut rows = Vec::new();
        self.cells(table, &mut |values| {
            let blobs = values
                .iter()
                .take(table.columns.len())
                .map(|value| match value {
                    Value::Blob(blob) | Value::Text(blob) => Some((*blob).to_vec()),
                    Value::Null | Value::Integer(_) => None,
                });
            let blobs = blobs.collect();
            rows.push(Row { table, blobs });
        })?;
        Ok(rows)
    }

    /// Walks a table's tree from left to right.
    fn cells(&self, table: &Table, visit: &mut dyn FnMut(&[Value<'_>])) -> Result<(), SqliteError> {
        // No page belongs to a tree twice, so a walk that needs more steps than there are pages goes
        // in a circle.
        let mut walk = Walk {
            pages_left: self.bytes.len() / self.page_size,
            rows_left: MAX_ROWS,
        };
        self.subtree(table.root, MAX_DEPTH, &mut walk, visit)
    }

    fn subtree(
        &self,
        number: u32,
        depth: usize,
        walk: &mut Walk,
        visit: &mut dyn FnMut(&[Value<'_>]),
    ) -> Result<(), SqliteError> {
        let page = self.page(number, walk)?;
        // The first page begins with the file's header.
        let start = if number == 1 { HEADER } else { 0 };
        let kind = *page.get(start).ok_or(SqliteError::Damaged)?;
        let count = be(page, start + 3, 2)?;
        let cell = |index: usize, header: usize| be(page, start + header + 2 * index, 2);
        match kind {
            LEAF => {
                for index in 0..count {
                    walk.rows_left = walk.rows_left.checked_sub(1).ok_or(SqliteError::TooMuch)?;
                    let payload = self.payload(page, cell(index, 8)?, walk)?;
                    visit(&record(&payload)?);
                }
                Ok(())
            }
            INTERIOR => {
                let depth = depth.checked_sub(1).ok_or(SqliteError::Damaged)?;
                for index in 0..count {
                    let child = page_number(page, cell(index, 12)?)?;
                    self.subtree(child, depth, walk, visit)?;
                }
                self.subtree(page_number(page, start + 8)?, depth, walk, visit)
            }
            _ => Err(SqliteError::Damaged),
        }
    }

    fn page(&self, number: u32, walk: &mut Walk) -> Result<&'a [u8], SqliteError> {
        walk.pages_left = walk.pages_left.checked_sub(1).ok_or(SqliteError::Damaged)?;
        let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        let start = index.and_then(|index| index.checked_mul(self.page_size));
        start
            .and_then(|start| self.bytes.get(start..start.checked_add(self.page_size)?))
            .map(|page| &page[..self.usable])
            .ok_or(SqliteError::Damaged)
    }

    /// Returns a row's bytes; what does not fit its page is in a chain of others.
    fn payload(
        &self,
        page: &'a [u8],
        at: usize,
        walk: &mut Walk,
    ) -> Result<Cow<'a, [u8]>, SqliteError> {
        let cell = page.get(at..).ok_or(SqliteError::Damaged)?;
        let (length, rest) = varint(cell)?;
        let (_row_id, rest) = varint(rest)?;
        let length = usize::try_from(length).map_err(|_range| SqliteError::TooMuch)?;
        if length > MAX_ROW_BYTES {
            return Err(SqliteError::TooMuch);
        }
        let local = self.local(length);
        let here = rest.get(..local).ok_or(SqliteError::Damaged)?;
        if local == length {
            return Ok(Cow::Borrowed(here));
        }
        let mut payload = here.to_vec();
        let mut next = page_number(rest, local)?;
        while payload.len() < length {
            let overflow = self.page(next, walk)?;
            next = page_number_or_end(overflow, 0)?;
            let content = &overflow[4..];
            let wanted = content.len().min(length - payload.len());
            payload.extend_from_slice(&content[..wanted]);
        }
        Ok(Cow::Owned(payload))
    }

    /// How much of a row is in its leaf page.
    fn local(&self, length: usize) -> usize {
        let most = self.usable - 35;
        if length <= most {
            return length;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let wanted = least + (length - least) % (self.usable - 4);
        if wanted <= most { wanted } else { least }
    }
}

impl Row<'_> {
    /// A column's blob; none where the row has no value, or the table no such column.
    pub(super) fn blob(&self, column: &str) -> Option<&[u8]> {
        let index = self.table.columns.iter().position(|name| name == column)?;
        self.blobs.get(index)?.as_deref()
    }
}

/// What is left of a walk's bounds.
struct Walk {
    pages_left: usize,
    rows_left: usize,
}

/// One value of a row. Numbers with a fraction are not asked for.
enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// Takes a row's bytes apart: a header with the type of each value, then the values.
fn record(payload: &[u8]) -> Result<Vec<Value<'_>>, SqliteError> {
    let (header_length, _rest) = varint(payload)?;
    let header_length = usize::try_from(header_length).map_err(|_range| SqliteError::Damaged)?;
    let (header, mut body) = payload
        .split_at_checked(header_length)
        .ok_or(SqliteError::Damaged)?;
    let (_length, mut types) = varint(header)?;
    let mut values = Vec::new();
    while !types.is_empty() {
        if values.len() >= MAX_COLUMNS {
            return Err(SqliteError::TooMuch);
        }
        let (kind, rest) = varint(types)?;
        types = rest;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return Err(SqliteError::Damaged),
            _ => (kind - 12) / 2,
        };
        let length = usize::try_from(length).map_err(|_range| SqliteError::Damaged)?;
        let (bytes, rest) = body.split_at_checked(length).ok_or(SqliteError::Damaged)?;
        body = rest;
        values.push(match kind {
            0 | 7 => Value::Null,
            1..=6 => Value::Integer(integer(bytes)),
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            _ if kind % 2 == 0 => Value::Blob(bytes),
            _ => Value::Text(bytes),
        });
    }
    Ok(values)
}

/// A two's complement number of up to eight octets, big end first.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|octet| octet & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    bytes
        .iter()
        .fold(start, |number: i64, octet| number << 8 | i64::from(*octet))
}

/// A number of one to nine octets, and what follows it.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), SqliteError> {
    let mut number = 0_u64;
    for (index, octet) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            return Ok((number << 8 | u64::from(*octet), &bytes[9..]));
        }
        number = number << 7 | u64::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            return Ok((number, &bytes[index + 1..]));
        }
    }
    Err(SqliteError::Damaged)
}

/// An unsigned number of `length` octets, big end first.
fn be(bytes: &[u8], at: usize, length: usize) -> Result<usize, SqliteError> {
    let field = at
        .checked_add(length)
        .and_then(|end| bytes.get(at..end))
        .ok_or(SqliteError::Damaged)?;
    Ok(field
        .iter()
        .fold(0, |number, octet| number << 8 | usize::from(*octet)))
}

fn page_number_or_end(page: &[u8], at: usize) -> Result<u32, SqliteError> {
    u32::try_from(be(page, at, 4)?).map_err(|_range| SqliteError::Damaged)
}

fn page_number(page: &[u8], at: usize) -> Result<u32, SqliteError> {
    match page_number_or_end(page, at)? {
        0 => Err(SqliteError::Damaged),
        number => Ok(number),
    }
}

fn text<'v>(values: &'v [Value<'_>], index: usize) -> Option<&'v str> {
    match values.get(index) {
        Some(Value::Text(bytes)) => str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// The column names in `CREATE TABLE name (first ..., second, ...)`. NSS never quotes them and adds
/// new ones at the end.
fn columns(statement: &str) -> Vec<String> {
    let list = statement
        .split_once('(')
        .and_then(|(_, rest)| rest.rsplit_once(')'))
        .map_or("", |(list, _)| list);
    list.split(',')
        .map(|column| {
            column
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

const MAGIC: &[u8] = b"SQLite format 3\0";

/// The length of the file's header.
const HEADER: usize = 100;

/// The smallest usable part of a page that the format allows.
const MIN_USABLE: usize = 480;

const UTF_8: usize = 1;
const LEAF: u8 = 0x0d;
const INTERIOR: u8 = 0x05;

/// The columns of the table on the first page, which lists the others.
const SCHEMA: [&str; 5] = ["type", "name", "tbl_name", "rootpage", "sql"];
