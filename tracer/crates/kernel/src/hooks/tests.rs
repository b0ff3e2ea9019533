//! What holds of every descriptor.

use tracer_common::audit::Audited;

use super::*;

fn place(hook: Hook) -> usize {
    Hook::IN_ORDER_OF_ATTACHMENT.iter().position(|other| *other == hook).unwrap_or(usize::MAX)
}

#[test]
fn the_order_of_attachment_is_what_it_says() {
    assert_eq!((place(Hook::Processes), place(Hook::SetState)), (0, Hook::ALL.len() - 1));
    for hook in Hook::ALL.into_iter().filter(|hook| hook.descriptor().beside_system_calls) {
        assert!(place(hook) > place(Hook::Connect) && place(hook) > place(Hook::Accept), "{}", hook.name());
    }
}

#[test]
fn each_has_a_name_of_its_own_links_and_a_loss() {
    for hook in Hook::ALL {
        let descriptor = hook.descriptor();
        assert_eq!(Hook::from_name(descriptor.name), Some(hook));
        assert!(
            !descriptor.chain.is_empty() && (descriptor.required || descriptor.without.is_some()),
            "{}",
            hook.name()
        );
    }
}

#[test]
fn each_count_belongs_to_one_hook() {
    for audited in Audited::ALL {
        let watches = Hook::ALL.into_iter().flat_map(|hook| hook.descriptor().audit);
        assert_eq!(watches.filter(|watch| watch.audited == audited).count(), 1, "{audited:?}");
    }
}

#[test]
fn each_stands_in_for_a_program_of_a_chain() {
    let programs: Vec<&str> =
        Hook::ALL.iter().flat_map(|hook| chain(*hook)).flat_map(|link| link.programs).map(|s| s.program).collect();
    for lanes in Lanes::all() {
        assert!(programs.contains(&lanes.first), "{}", lanes.first);
        assert_eq!((Lanes::of(lanes.first), Lanes::with(lanes.first)), (Some(lanes), None));
        for (number, lane) in lanes.others.iter().enumerate() {
            assert!(lane.ends_with(&format!("__lane{}", number + 2)) && !programs.contains(lane), "{lane}");
            assert_eq!((Lanes::of(lane), Lanes::with(lane)), (None, Some(lanes)));
        }
    }
}
