//! `NFT_MSG_GETSET` and `NFT_MSG_GETSETELEM`: sets and maps, and their elements.

use super::{Action, LIST_SET, LIST_TABLE, NFGENMSG, expression::verdict, find, number};
use crate::netlink::attribute::{Attributes, be32_at, put, text, u8_at};

const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_LEN: u16 = 5;
const SET_DESC: u16 = 9;
const DESC_CONCAT: u16 = 2;
const FIELD_LEN: u16 = 1;
const LIST_ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_FLAGS: u16 = 3;
const ELEMENT_KEY_END: u16 = 10;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
/// `NFT_SET_INTERVAL`.
const INTERVAL: u32 = 0x4;
/// `NFT_SET_TIMEOUT` and `NFT_SET_EVAL`: time or packets change the elements, and the generation stays.
const CHANGING: u32 = 0x10 | 0x20;
/// `NFT_SET_ELEM_INTERVAL_END`: the interval that began at the key before ends before this key.
const INTERVAL_END: u32 = 0x1;
/// `NFT_SET_ELEM_CATCHALL`.
const CATCHALL: u32 = 0x2;

/// A set or a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// `NFPROTO_*`.
    pub family: u8,
    /// Its table. Hostile bytes.
    pub table: String,
    /// Its name. Hostile bytes.
    pub name: String,
    /// Whether its keys are intervals.
    pub interval: bool,
    /// Whether its elements change without a new generation.
    pub changing: bool,
    /// Bytes of a key.
    pub key_length: usize,
    /// Bytes of each part of a concatenated key; each part fills whole words.
    pub fields: Vec<usize>,
    /// Its elements; `None` if they were not read.
    pub elements: Option<Vec<Element>>,
}

impl Set {
    /// Returns the body of a request for its elements.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let mut body = vec![self.family, 0, 0, 0];
        for (kind, name) in [(LIST_TABLE, &self.table), (LIST_SET, &self.name)] {
            put(&mut body, kind, &[name.as_bytes(), b"\0"].concat());
        }
        body
    }
}

/// A map's value for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value: it is a set.
    None,
    /// These bytes.
    Data(Box<[u8]>),
    /// A verdict on the packet.
    Verdict(Action),
}

/// An element of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The key, or the first one; empty for the element that stands for all others.
    pub key: Box<[u8]>,
    /// The last key of a range.
    pub key_end: Option<Box<[u8]>>,
    /// Whether an interval ends at this key.
    pub ends: bool,
    /// The map's value.
    pub value: Value,
}

/// Parses a set, without its elements.
#[must_use]
pub fn set(message: &[u8]) -> Option<Set> {
    let mut set = Set { family: u8_at(message, 0)?, ..Set::default() };
    for (kind, value) in Attributes::after(NFGENMSG, message) {
        match kind {
            SET_TABLE => set.table = text(value),
            SET_NAME => set.name = text(value),
            SET_FLAGS => {
                let flags = number(value)?;
                (set.interval, set.changing) = (flags & INTERVAL != 0, flags & CHANGING != 0);
            }
            SET_KEY_LEN => set.key_length = usize::try_from(number(value)?).ok()?,
            SET_DESC => {
                let fields = find(value, DESC_CONCAT).unwrap_or_default();
                let length = |(_, field)| be32_at(find(field, FIELD_LEN)?, 0).and_then(|length| length.try_into().ok());
                set.fields = Attributes::of(fields).map_while(length).collect();
            }
            _ => {}
        }
    }
    (!set.name.is_empty()).then_some(set)
}

/// Parses the elements in one message; `None` for an element that the parser does not understand.
pub fn elements(message: &[u8]) -> impl Iterator<Item = Option<Element>> {
    let list = message.get(NFGENMSG..).and_then(|attributes| find(attributes, LIST_ELEMENTS)).unwrap_or_default();
    Attributes::of(list).map(|(_, attributes)| element(attributes))
}

fn element(attributes: &[u8]) -> Option<Element> {
    let (mut key, mut key_end, mut flags, mut value) = (None, None, 0, Value::None);
    let bytes = |value| Some(Box::<[u8]>::from(find(value, DATA_VALUE)?));
    for (kind, data) in Attributes::of(attributes) {
        match kind {
            ELEMENT_KEY => key = Some(bytes(data)?),
            ELEMENT_KEY_END => key_end = Some(bytes(data)?),
            ELEMENT_FLAGS => flags = number(data)?,
            ELEMENT_DATA => {
                value = match find(data, DATA_VERDICT) {
                    Some(code) => Value::Verdict(verdict(code)?),
                    None => Value::Data(bytes(data)?),
                }
            }
            _ => {}
        }
    }
    let key = if flags & CATCHALL == 0 { key? } else { Box::default() };
    Some(Element { key, key_end, ends: flags & INTERVAL_END != 0, value })
}
