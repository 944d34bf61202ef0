//! Records of a stream: exact bytes in, exact bytes out, and the parts that name the event.
//!
//! [`Reader::open`] reads what stands before the records ([`Head`]), and refuses an input that is no text of the kind;
//! [`Reader::next_record`] gives the records, each with the line it begins on and, where it cannot be trusted, a
//! [`Fault`]; [`fields()`] gives the values of one. How an input is written, a [`Layout`] says; users say it with
//! [`RecordArgs`].

mod args;
mod escape;
mod fault;
mod fields;
mod foreign;
mod head;
pub(crate) mod json;
mod line_end;
mod raw;
mod reader;
mod scan;
mod syntax;
mod window;

pub(crate) use args::{Format, RecordArgs, parse_names};
pub(crate) use fault::Fault;
pub(crate) use fields::{Field, field, fields};
pub(crate) use head::Head;
pub(crate) use raw::{Record, looks_like_json};
pub(crate) use reader::Reader;
pub(crate) use syntax::{Basis, Header, Layout, Syntax};

#[cfg(test)]
mod tests;
