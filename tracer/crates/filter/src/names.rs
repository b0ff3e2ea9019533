//! Options with a fixed set of values: `--help` and the shell completions list them.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};
use tracer_explain::nearest_of;

use super::parse::Selector;

/// Takes one of `all`, with or without a `!` before it.
#[derive(Clone, Copy, Debug)]
pub struct Names<T: 'static> {
    /// The values.
    pub all: &'static [T],
    /// The name of a value.
    pub name: fn(&T) -> &'static str,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Names<T> {
    type Value = Selector<T>;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Selector<T>, Error> {
        let text = value.to_string_lossy();
        let (exclude, name) = match text.trim().strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text.trim()),
        };
        if let Some(value) = self.all.iter().find(|value| (self.name)(value) == name) {
            return Ok(Selector { value: value.clone(), exclude });
        }
        let mut error = Error::new(ErrorKind::InvalidValue).with_cmd(command);
        if let Some(arg) = arg {
            error.insert(ContextKind::InvalidArg, ContextValue::String(arg.to_string()));
        }
        error.insert(ContextKind::InvalidValue, ContextValue::String(text.clone().into_owned()));
        if let Some(meant) = nearest_of(name, self.all.iter().map(|value| (self.name)(value))) {
            error.insert(ContextKind::SuggestedValue, ContextValue::String(meant.to_owned()));
        }
        let names = self.all.iter().map(|value| (self.name)(value).to_owned()).collect();
        error.insert(ContextKind::ValidValue, ContextValue::Strings(names));
        Err(error)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.all.iter().map(|value| PossibleValue::new((self.name)(value)))))
    }
}
