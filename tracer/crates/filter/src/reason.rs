//! Checks that the running kernel has the given reasons: a misspelt one would silently match nothing.

use tracer_explain::{self as explain, Family};
use tracer_tables::reasons::Reasons;

use super::{
    FilterError,
    parse::{ReasonName, Selector},
};

/// The families of names that are reasons.
const REASONS: [Family; 5] = [Family::Drop, Family::Qdisc, Family::Mac80211, Family::Openvswitch, Family::Reset];

/// Looks each name up among those of the running `kernel`. A kernel without reasons refuses `--reason` later.
///
/// # Errors
/// For the first name that the kernel lacks.
pub fn check(asked: &[Selector<ReasonName>], kernel: &Reasons) -> Result<(), FilterError> {
    if kernel.names().next().is_none() {
        return Ok(());
    }
    match asked.iter().map(|selector| selector.value.0.as_str()).find(|name| !has(kernel, name)) {
        Some(name) => Err(unknown(name, kernel)),
        None => Ok(()),
    }
}

fn has(kernel: &Reasons, name: &str) -> bool {
    kernel.has_reset(name) || !kernel.drop_numbers(name).is_empty()
}

fn unknown(name: &str, kernel: &Reasons) -> FilterError {
    let found = explain::lookup(name).into_iter().find(|found| REASONS.contains(&found.entry.family));
    // `explain` accepts more spellings than the filter compares.
    let spelt = found.map(|found| explain::short(found.name)).filter(|known| *known != name && has(kernel, known));
    let module = found.and_then(|found| match found.entry.family {
        Family::Mac80211 => Some("MAC80211_UNUSABLE"),
        Family::Openvswitch => Some("OPENVSWITCH"),
        _ => None,
    });
    match found {
        Some(_) if let (None, Some(subsystem)) = (spelt, module) => {
            FilterError::ReasonOfModule { name: name.to_owned(), subsystem }
        }
        Some(found) if spelt.is_none() => FilterError::ReasonOfOthers {
            name: name.to_owned(),
            kernels: explain::kernels::having(found.entry, found.name).unwrap_or_default(),
        },
        _ => FilterError::UnknownReason {
            name: name.to_owned(),
            suggestion: spelt.or_else(|| explain::nearest_of(name, kernel.names())).map(str::to_owned),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let selector = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        check(&[selector], &Reasons::of(&[(2, "NOT_SPECIFIED"), (7, "NETFILTER_DROP"), (8, "NO_SOCKET")]))
            .map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_this_kernel_has_passes() {
        for text in ["NETFILTER_DROP", "netfilter_drop", "!NO_SOCKET", "SKB_DROP_REASON_NO_SOCKET", "REASON_900"] {
            assert_eq!(said(text), "", "{text}");
        }
        let misspelt = ["NETFILTR_DROP".parse().unwrap_or_else(|error| panic!("{error}"))];
        assert!(check(&misspelt, &Reasons::default()).is_ok(), "a kernel without reasons");
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest() {
        let meant = |text: &str, name: &str| {
            let said = said(text);
            assert!(said.starts_with("unknown reason ") && said.contains(&format!("did you mean {name}?")), "{said}");
        };
        meant("NETFILTR_DROP", "NETFILTER_DROP");
        meant("!NO_SOCKT", "NO_SOCKET");
        meant("NO-SOCKET".replace('-', "").as_str(), "NO_SOCKET");
        assert_eq!(said("XYZZY"), "unknown reason XYZZY (`tracer explain --list drop` has all)");
        assert!(said("REASON_7").starts_with("unknown reason"), "it has a name");
    }

    #[test]
    fn a_reason_of_other_kernels_is_said_to_be_one() {
        assert_eq!(said("TCP_LISTEN_OVERFLOW"), "this kernel has no reason TCP_LISTEN_OVERFLOW; 6.18 and 7.3 have it");
        let of_a_module = said("OVS_DROP_LAST_ACTION");
        assert!(of_a_module.ends_with("by number only: --reason OPENVSWITCH_NUMBER"), "{of_a_module}");
    }
}
