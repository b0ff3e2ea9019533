//! Programs that stand in for one another (the kernel side's `lane`): they take the calls that the kernel keeps from a
//! program which is already running on the same CPU.

use tracer_common::settings::LANES;

/// The programs beside one inside which a task may be preempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// The program that they stand in for.
    pub first: &'static str,
    /// In the order in which the kernel is to call them, after the first.
    pub others: [&'static str; LANES as usize - 1],
}

macro_rules! lanes {
    ($($first:literal: $($other:literal)*;)*) => { [$(Lanes { first: $first, others: [$($other),*] }),*] };
}

const ALL: [Lanes; 13] = lanes! {
    "set_state__btf": "set_state__lane2" "set_state__lane3";
    "destroy__btf": "destroy__lane2" "destroy__lane3";
    "error_report__btf": "error_report__lane2" "error_report__lane3";
    "send_reset__raw": "send_reset__lane2" "send_reset__lane3";
    "receive_reset__raw": "receive_reset__lane2" "receive_reset__lane3";
    "fork__raw": "fork__lane2" "fork__lane3";
    "exec__raw": "exec__lane2" "exec__lane3";
    "exit__raw": "exit__lane2" "exit__lane3";
    "accept__fexit": "accept__lane2" "accept__lane3";
    "connect4__fentry": "connect4_entry__lane2" "connect4_entry__lane3";
    "connect4__fexit": "connect4_return__lane2" "connect4_return__lane3";
    "connect6__fentry": "connect6_entry__lane2" "connect6_entry__lane3";
    "connect6__fexit": "connect6_return__lane2" "connect6_return__lane3";
};

impl Lanes {
    /// The lanes beside a program, if it has any.
    #[must_use]
    pub fn of(program: &str) -> Option<&'static Self> {
        const { &ALL }.iter().find(|lanes| lanes.first == program)
    }

    /// The lanes that include a program, unless it is the first.
    #[must_use]
    pub fn with(program: &str) -> Option<&'static Self> {
        const { &ALL }.iter().find(|lanes| lanes.others.contains(&program))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::backend::{Hook, chain};

    #[test]
    fn each_stands_in_for_a_program_of_a_chain() {
        let programs: Vec<&str> =
            Hook::ALL.iter().flat_map(|hook| chain(*hook)).flat_map(|link| link.programs).map(|s| s.program).collect();
        for lanes in &ALL {
            assert!(programs.contains(&lanes.first), "{}", lanes.first);
            assert_eq!((Lanes::of(lanes.first), Lanes::with(lanes.first)), (Some(lanes), None));
            for (number, lane) in lanes.others.iter().enumerate() {
                assert!(lane.ends_with(&format!("__lane{}", number + 2)) && !programs.contains(lane), "{lane}");
                assert_eq!((Lanes::of(lane), Lanes::with(lane)), (None, Some(lanes)));
            }
        }
    }
}
