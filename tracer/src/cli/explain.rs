//! The arguments of `tracer explain`.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser};

use crate::explain::{self, Family};

use super::Color;

/// `tracer explain`
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ExplainArgs {
    /// Names to explain: NO_SOCKET, TIME_WAIT, ECONNRESET, 111, TcpExtListenOverflows …
    ///
    /// Case does not matter, and prefixes such as SKB_DROP_REASON_ or TcpExt are optional. Without a
    /// name, tracer lists the families.
    #[arg(value_name = "NAME", value_parser = Name, hide_possible_values = true, allow_negative_numbers = true)]
    pub names: Vec<String>,

    /// List the names, of one family or all
    #[arg(long, value_name = "FAMILY", num_args = 0..=1, conflicts_with = "names", value_parser = family())]
    pub list: Option<Option<Family>>,

    /// One JSON object a line
    #[arg(long)]
    pub json: bool,

    /// Colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// Takes the name of a family.
fn family() -> impl TypedValueParser<Value = Family> {
    let all = Family::ALL.map(|family| PossibleValue::new(family.name()).help(family.about()));
    PossibleValuesParser::new(all).try_map(|name| Family::named(&name).ok_or("there is no such family"))
}

/// Takes any word, and offers the names to shells that complete.
#[derive(Clone, Copy, Debug)]
struct Name;

impl TypedValueParser for Name {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(explain::entries().flat_map(explain::Entry::names).map(explain::short).map(PossibleValue::new)))
    }
}
