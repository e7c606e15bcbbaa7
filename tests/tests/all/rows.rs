//! The acceptance tables of the tools, row by row: which test keeps each promise.
//!
//! `rows_and_tests_agree` fails when a row is missing or names a test that does not exist. Its output
//! (`--nocapture`) is the count for a report.

use std::collections::BTreeSet;
use std::process::Command;

/// The tests that keep one row, named by their modules and functions.
struct Tests(&'static [&'static str]);

/// The highest number of each table, to see that no row was forgotten.
const TABLES: [(&str, u32); 3] = [("S", 59), ("M", 12), ("X", 12)];

const ROWS: &[(&str, Tests)] = &[
    ("S1", Tests(&["start::s1_start_prints_one_number"])),
    ("S2", Tests(&["find::s2_all_lists_the_server"])),
    (
        "S3",
        Tests(&["find::s3_s19_find_or_start_prints_zero_for_a_running_server"]),
    ),
    ("S4", Tests(&["stop::s4_s26_stop_is_silent_and_gives_zero"])),
    (
        "S5a",
        Tests(&["authorize::s5a_s52_authorize_is_silent_and_gives_zero"]),
    ),
    (
        "S5b",
        Tests(&["authorize::s5b_s29_a_named_directory_is_made_and_holds_the_certificate"]),
    ),
    (
        "S6",
        Tests(&["client::s6_server_database_pass_and_arguments_together"]),
    ),
    (
        "S7a",
        Tests(&["start::s7a_one_socket_listens_on_the_announced_port"]),
    ),
    (
        "S7b",
        Tests(&["start::s7b_the_port_speaks_tls_and_survives_plain_bytes"]),
    ),
    (
        "S8",
        Tests(&["client::s8_the_server_runs_stap_once_with_the_script_as_one_argument"]),
    ),
    ("S9a", Tests(&["start::s9a_the_pid_is_the_servers"])),
    (
        "S9b",
        Tests(&["start::s9b_each_start_makes_another_server"]),
    ),
    ("S10", Tests(&["start::s10_ports_are_random_and_differ"])),
    ("S11a", Tests(&["start::s11a_avahi_sees_the_announcement"])),
    (
        "S11b",
        Tests(&["start::s11b_a_stopped_server_is_announced_no_more"]),
    ),
    (
        "S12a",
        Tests(&["start::s12a_start_prints_only_the_pid_of_a_running_process"]),
    ),
    (
        "S12b",
        Tests(&["start::s12b_a_client_works_at_once_after_the_start"]),
    ),
    ("S12c", Tests(&["start::s12c_start_needs_no_terminal"])),
    (
        "S12d",
        Tests(&["start::s12d_the_server_survives_the_shell_that_started_it"]),
    ),
    (
        "S13a",
        Tests(&["start::s13a_an_unwritable_home_fails_the_start"]),
    ),
    (
        "S13b",
        Tests(&["start::s13b_no_possible_announcement_fails_the_start"]),
    ),
    ("S13c", Tests(&["start::s13c_a_busy_port_fails_the_start"])),
    (
        "S14",
        Tests(&["find::s14_servers_of_other_users_are_found"]),
    ),
    (
        "S15",
        Tests(&["find::s15_s16_each_line_has_four_fields_and_is_printed_once"]),
    ),
    (
        "S16",
        Tests(&["find::s15_s16_each_line_has_four_fields_and_is_printed_once"]),
    ),
    (
        "S17a",
        Tests(&["find::s17a_an_empty_network_gives_one_and_prints_nothing"]),
    ),
    (
        "S17b",
        Tests(&["find::s17b_no_network_gives_one_and_prints_nothing"]),
    ),
    (
        "S18",
        Tests(&["find::s18_an_incompatible_server_is_not_enough"]),
    ),
    (
        "S19",
        Tests(&["find::s3_s19_find_or_start_prints_zero_for_a_running_server"]),
    ),
    (
        "S20",
        Tests(&["find::s20_s21_find_or_start_starts_a_server_and_prints_its_pid"]),
    ),
    (
        "S21",
        Tests(&["find::s20_s21_find_or_start_starts_a_server_and_prints_its_pid"]),
    ),
    (
        "S22a",
        Tests(&["find::s22a_s23_no_network_prints_minus_one_and_gives_zero"]),
    ),
    (
        "S22b",
        Tests(&["find::s22b_s23_an_unwritable_home_prints_minus_one_and_gives_zero"]),
    ),
    (
        "S23",
        Tests(&["find::s23_find_or_start_gives_zero_for_nonsense"]),
    ),
    (
        "S24a",
        Tests(&["stop::s24a_another_process_is_not_a_server"]),
    ),
    (
        "S24b",
        Tests(&["stop::s24b_a_part_of_a_pid_is_not_the_pid"]),
    ),
    (
        "S24c",
        Tests(&["stop::s24c_zero_and_minus_one_signal_nobody"]),
    ),
    (
        "S24d",
        Tests(&["stop::s24d_threads_and_zombies_are_not_servers"]),
    ),
    (
        "S25",
        Tests(&["stop::s25_stop_ends_the_server_and_its_announcement"]),
    ),
    (
        "S26",
        Tests(&["stop::s4_s26_stop_is_silent_and_gives_zero"]),
    ),
    (
        "S27a",
        Tests(&["stop::s27a_stop_without_a_pid_shows_its_usage"]),
    ),
    ("S27b", Tests(&["stop::s27b_what_is_no_pid_is_refused"])),
    (
        "S27c",
        Tests(&["stop::s27c_a_server_cannot_be_stopped_twice"]),
    ),
    ("S28", Tests(&["stop::s28_stop_does_not_wait_for_the_end"])),
    (
        "S29",
        Tests(&[
            "authorize::s5b_s29_a_named_directory_is_made_and_holds_the_certificate",
            "authorize::s29_adding_twice_keeps_one_copy",
            "nss::s29_certutil_lists_what_was_authorized_once",
        ]),
    ),
    (
        "S30",
        Tests(&["authorize::s30_only_the_added_certificate_makes_the_server_trusted"]),
    ),
    (
        "S31",
        Tests(&["client::s31_an_incompatible_server_is_not_chosen"]),
    ),
    (
        "S32",
        Tests(&["client::s32_each_pass_prints_its_own_result"]),
    ),
    (
        "S33a",
        Tests(&["run::s33a_s34_s48_pass_five_runs_the_module_here"]),
    ),
    (
        "S33b",
        Tests(&["run::s33b_pass_four_leaves_the_module_and_runs_nothing"]),
    ),
    (
        "S34",
        Tests(&[
            "run::s33a_s34_s48_pass_five_runs_the_module_here",
            "client::s32_each_pass_prints_its_own_result",
        ]),
    ),
    (
        "S35a",
        Tests(&["client::s35a_a_failed_compile_exits_with_one"]),
    ),
    ("S35b", Tests(&["run::s35b_a_failed_run_exits_with_one"])),
    ("S35c", Tests(&["client::s35c_no_server_exits_with_one"])),
    (
        "S36a",
        Tests(&["client::s36a_options_of_stap_and_tapsets_reach_it"]),
    ),
    (
        "S36b",
        Tests(&["client::s36b_hostile_arguments_arrive_byte_for_byte"]),
    ),
    (
        "S36c",
        Tests(&["client::s36c_values_may_be_attached_apart_or_bundled"]),
    ),
    (
        "S36d",
        Tests(&["client::s36d_listings_need_no_script_and_run_nothing"]),
    ),
    (
        "S36e",
        Tests(&["run::s36e_options_of_the_run_reach_staprun"]),
    ),
    ("S36f", Tests(&["run::s36f_a_command_is_one_argument"])),
    (
        "S36g",
        Tests(&["client::s36g_a_named_module_is_left_in_the_directory"]),
    ),
    (
        "S36h",
        Tests(&["client::s36h_kept_files_are_announced_once"]),
    ),
    ("S36i", Tests(&["e2e::scripts_give_what_bare_stap_gives"])),
    (
        "S37a",
        Tests(&["authorize::s37a_authorize_needs_a_certificate"]),
    ),
    (
        "S37b",
        Tests(&["authorize::s37b_what_is_no_certificate_changes_nothing"]),
    ),
    (
        "S38a",
        Tests(&["client::s38a_a_script_file_and_its_arguments_are_packaged"]),
    ),
    (
        "S38b",
        Tests(&["client::s38b_a_script_on_stdin_is_packaged"]),
    ),
    (
        "S38c",
        Tests(&["client::s38c_what_follows_two_dashes_belongs_to_the_script"]),
    ),
    (
        "S39",
        Tests(&["trust::s39_a_user_who_trusts_nobody_sends_nothing"]),
    ),
    (
        "S39b",
        Tests(&["trust::s39b_a_user_who_trusts_somebody_else_sends_nothing"]),
    ),
    (
        "S40",
        Tests(&["authorize::s40_s43b_an_authorized_server_is_used"]),
    ),
    (
        "S41a",
        Tests(&["trust::s41a_s41b_the_first_start_makes_both_databases"]),
    ),
    (
        "S41b",
        Tests(&["trust::s41a_s41b_the_first_start_makes_both_databases"]),
    ),
    (
        "S41c",
        Tests(&["trust::s41c_a_lost_client_database_is_made_again"]),
    ),
    ("S41d", Tests(&["trust::s41d_later_starts_change_nothing"])),
    (
        "S42a",
        Tests(&["trust::s42a_a_users_server_is_trusted_by_his_clients"]),
    ),
    (
        "S42b",
        Tests(&["trust::s42b_roots_server_is_trusted_by_everybody"]),
    ),
    ("S43a", Tests(&["trust::s43a_s51_ssl_trusts_for_one_run"])),
    (
        "S43b",
        Tests(&["authorize::s40_s43b_an_authorized_server_is_used"]),
    ),
    (
        "S44",
        Tests(&["authorize::s44_trust_outlives_the_server_process"]),
    ),
    (
        "S45",
        Tests(&["authorize::s45_s53_what_root_authorizes_is_trusted_by_all"]),
    ),
    (
        "S46",
        Tests(&["start::s46_a_search_that_finds_nothing_leads_to_a_start"]),
    ),
    (
        "S47",
        Tests(&["find::s47_what_find_or_start_started_is_found"]),
    ),
    (
        "S48",
        Tests(&[
            "run::s33a_s34_s48_pass_five_runs_the_module_here",
            "guest::s48_two_modules_run_on_their_kernel",
        ]),
    ),
    (
        "S49",
        Tests(&["client::s49_m4_a_host_without_a_port_means_what_it_announces"]),
    ),
    (
        "S50",
        Tests(&["client::s50_m5_a_host_with_a_port_needs_no_announcement"]),
    ),
    ("S51", Tests(&["trust::s43a_s51_ssl_trusts_for_one_run"])),
    (
        "S52",
        Tests(&["authorize::s5a_s52_authorize_is_silent_and_gives_zero"]),
    ),
    (
        "S53",
        Tests(&["authorize::s45_s53_what_root_authorizes_is_trusted_by_all"]),
    ),
    (
        "S54",
        Tests(&["start::s54_the_printed_pid_stops_the_server"]),
    ),
    ("S55", Tests(&["e2e::scripts_give_what_bare_stap_gives"])),
    (
        "S56",
        Tests(&[
            "interop::s56_a_stock_4_8_client_with_our_server",
            "interop::s56_a_stock_5_1_client_with_our_server",
            "interop::s56_a_stock_5_6_client_with_our_server",
            "interop::s56_our_client_with_a_stock_4_8_server",
            "interop::s56_our_client_with_a_stock_5_1_server",
            "interop::s56_our_client_with_a_stock_5_6_server",
        ]),
    ),
    ("S57", Tests(&["nss::s57_certutil_reads_both_databases"])),
    (
        "S58",
        Tests(&[
            "start::s58_an_open_umask_opens_nothing",
            "start::s58_a_strict_umask_closes_nothing",
        ]),
    ),
    (
        "S59a",
        Tests(&["trust::s59a_a_group_writable_database_is_rejected"]),
    ),
    (
        "S59b",
        Tests(&[
            "trust::s59b_a_bad_file_rejects_the_database",
            "nss::s59b_a_bad_file_of_the_store_rejects_the_database",
        ]),
    ),
    (
        "S59c",
        Tests(&["trust::s59c_a_private_database_is_only_warned_about"]),
    ),
    (
        "S59d",
        Tests(&["trust::s59d_a_missing_named_database_is_skipped"]),
    ),
    (
        "S59e",
        Tests(&[
            "trust::s59e_a_readable_key_stops_the_server",
            "nss::s59e_a_readable_key_store_stops_the_server",
        ]),
    ),
    (
        "S59f",
        Tests(&[
            "trust::s59f_a_writable_server_database_stops_the_server",
            "trust::s59f_a_writable_certificate_stops_the_server",
            "trust::s59f_a_key_of_somebody_else_stops_the_server",
        ]),
    ),
    (
        "S59g",
        Tests(&["trust::s59g_a_private_server_database_is_only_warned_about"]),
    ),
    (
        "S59h",
        Tests(&["trust::s59h_a_global_database_must_be_roots"]),
    ),
    (
        "M1",
        Tests(&["find::m1_m2_only_all_lists_incompatible_servers"]),
    ),
    (
        "M2",
        Tests(&["find::m1_m2_only_all_lists_incompatible_servers"]),
    ),
    (
        "M3",
        Tests(&["find::m3_other_options_of_find_servers_are_ignored"]),
    ),
    (
        "M4",
        Tests(&["client::s49_m4_a_host_without_a_port_means_what_it_announces"]),
    ),
    (
        "M5",
        Tests(&["client::s50_m5_a_host_with_a_port_needs_no_announcement"]),
    ),
    (
        "M6",
        Tests(&["client::m6_only_the_named_server_is_contacted"]),
    ),
    (
        "M7",
        Tests(&["client::m7_named_servers_are_tried_in_their_order"]),
    ),
    (
        "M8",
        Tests(&["trust::m8_databases_are_tried_in_their_order"]),
    ),
    ("M9", Tests(&["client::m9_a_missing_value_is_an_error"])),
    (
        "M10",
        Tests(&["authorize::m10_the_default_directory_is_the_client_database"]),
    ),
    (
        "M11",
        Tests(&["trust::m11_systemtap_dir_replaces_the_home"]),
    ),
    (
        "M12",
        Tests(&["trust::m12_roots_clients_use_only_the_global_database"]),
    ),
    (
        "X1",
        Tests(&["run::x1_an_interrupt_of_the_group_ends_the_run_well"]),
    ),
    (
        "X2",
        Tests(&[
            "run::x2_an_interrupt_of_the_client_alone_ends_the_run_well",
            "run::x2_a_termination_of_the_client_ends_the_run_and_exits_with_one",
        ]),
    ),
    (
        "X3",
        Tests(&["run::x3_an_interrupt_during_the_compile_ends_both_sides"]),
    ),
    (
        "X4",
        Tests(&["run::x4_output_goes_to_the_callers_directory"]),
    ),
    (
        "X5",
        Tests(&["lies::x5_a_lying_reply_is_refused_and_leaves_nothing"]),
    ),
    ("X6", Tests(&["client::x6_version_and_help_need_no_server"])),
    (
        "X7",
        Tests(&["client::x7_a_pass_that_does_not_exist_is_an_error"]),
    ),
    ("X8", Tests(&["run::x8_six_clients_at_once_are_all_served"])),
    (
        "X9",
        Tests(&["hostile::x9_an_oversize_request_is_refused_with_the_reason"]),
    ),
    (
        "X10",
        Tests(&["trust::x10_an_expired_certificate_is_renewed_and_trusted"]),
    ),
    (
        "X11",
        Tests(&[
            "find::x11_a_restart_of_the_avahi_daemon_changes_nothing",
            "network::x11_restarts_of_daemons_on_either_host_change_nothing",
        ]),
    ),
    (
        "X12",
        Tests(&[
            "mdns::x12_stock_clients_list_our_server_and_use_it_5_6",
            "mdns::x12_stock_clients_list_our_server_and_use_it_5_1",
            "mdns::x12_stock_clients_list_our_server_and_use_it_4_8",
        ]),
    ),
];

#[test]
fn rows_and_tests_agree() {
    let existing = tests();
    for (row, Tests(names)) in ROWS {
        assert!(!names.is_empty(), "{row} names no test");
        for name in *names {
            assert!(existing.contains(*name), "{row}: there is no test {name}");
        }
    }
    println!("{} rows have tests", ROWS.len());
}

#[test]
fn no_row_is_missing_or_doubled() {
    let mut numbers = BTreeSet::new();
    for (row, _) in ROWS {
        assert!(numbers.insert(*row), "{row} is there twice");
    }
    for (table, last) in TABLES {
        for number in 1..=last {
            let is_row = |row: &&str| {
                let rest = row.strip_prefix(&format!("{table}{number}"));
                rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
            };
            assert!(numbers.iter().any(is_row), "no row {table}{number}");
        }
    }
}

/// Every test of this program.
fn tests() -> BTreeSet<String> {
    let program = std::env::current_exe().unwrap();
    let listing = Command::new(program).arg("--list").output().unwrap();
    let text = String::from_utf8(listing.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}
