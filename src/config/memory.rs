use std::fs;

/// The machine's memory in bytes, if it can be told.
pub(super) fn total() -> Option<u64> {
    total_in(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// Reads `MemTotal:  16303428 kB`, proc_meminfo(5); its `kB` are 1024 bytes.
fn total_in(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        let meminfo = "MemTotal:       16303428 kB\nMemFree:         1234567 kB\n";
        assert_eq!(total_in(meminfo), Some(16303428 * 1024));
        assert_eq!(total_in("MemFree: 1 kB\n"), None);
        assert_eq!(total_in("MemTotal: many kB\n"), None);
        assert_eq!(total_in(""), None);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(total().unwrap() > 1 << 20);
    }
}
