//! Faults on purpose, for the tests of the hand-over and of what is logged. Only in debug builds: a release has no such
//! hook.

/// A named moment in the life of a worker, or of the supervisor. `BATON_FAULTS` names a file with lines `POINT ACTION`; the line of this point, if
/// there is one, is carried out: `exit`, `abort`, `panic`, `hang`, `slow` (300 ms), or `hold` (until the line is gone). The empty file
/// `FILE.POINT` tells that it has begun.
#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "faults on purpose")]
pub(crate) fn point(name: &str) {
    let Some(path) = std::env::var_os("BATON_FAULTS") else {
        return;
    };
    let Ok(faults) = std::fs::read_to_string(&path) else {
        return;
    };
    let action = faults
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    if action.is_some() {
        let mut mark = path.clone();
        mark.push(".");
        mark.push(name);
        // Without it the test fails, and says so.
        let _told = std::fs::write(mark, "");
    }
    match action {
        Some("exit") => std::process::exit(3),
        Some("panic") => panic!("as {name} was told"),
        Some("abort") => std::process::abort(),
        Some("hang") => loop {
            std::thread::park();
        },
        Some("hold") => {
            let line = format!("{name} hold");
            while std::fs::read_to_string(&path).is_ok_and(|faults| faults.contains(&line)) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        Some("slow") => std::thread::sleep(std::time::Duration::from_millis(300)),
        _ => {}
    }
}

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_name: &str) {}
