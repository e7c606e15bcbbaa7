//! The lab itself: it must be what the other tests believe it is.

use stap_tests::lab;
use stap_tests::mdns::Avahi;
use stap_tests::process;

#[test]
fn a_lab_has_its_own_host_name_users_and_processes() {
    lab::inside(|lab| {
        lab.alice()
            .run("uname", ["-n"])
            .prints("labhost\n")
            .exits(0);
        lab.bob().run("id", ["-un"]).prints("bob\n").exits(0);
        lab.bob().run("id", ["-G"]).prints("12346\n").exits(0);
        assert_eq!(process::strangers(), []);
    });
}

#[test]
fn a_record_of_a_foreign_publisher_is_on_the_network() {
    lab::inside(|lab| {
        let avahi = Avahi::start(lab);
        let _record = avahi.publish("x", 65001, &["sysinfo=9.9.9 x86_64"]);
        let seen = avahi.browse();
        assert!(seen.out().contains("\"sysinfo=9.9.9 x86_64\""), "{seen}");
    });
}
