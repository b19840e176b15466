//! The directories of a service.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What systemd makes for a service (RuntimeDirectory= and StateDirectory= in systemd.exec(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directories {
    /// For sockets; it goes when the service stops.
    pub runtime: Option<PathBuf>,
    /// For what is kept.
    pub state: Option<PathBuf>,
}

impl Directories {
    /// Those of the daemon whose config is in this folder: what systemd says. Who isn't started by it, as the command line, it
    /// says nothing; then a config in `/etc/baton` is that of the unit that packages install, and its directories are
    /// taken, as far as they are there.
    pub fn of(folder: &Path) -> Directories {
        Directories::found(folder, Path::new("/"), |variable| env::var_os(variable))
    }

    fn found(
        folder: &Path,
        root: &Path,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Directories {
        let directory = |name: &str, default: &str| {
            // Several are split by colons.
            let all = variable(name).unwrap_or_default();
            let first = env::split_paths(&all).next();
            let told = first.filter(|path| path.is_absolute());
            told.or_else(|| {
                let path = root.join(default);
                // With DynamicUser= it is a link into a directory that root alone may enter.
                let is_there = || path.symlink_metadata().is_ok();
                (folder == root.join("etc/baton") && is_there()).then(|| path.clone())
            })
        };
        Directories {
            runtime: directory("RUNTIME_DIRECTORY", "run/baton"),
            state: directory("STATE_DIRECTORY", "var/lib/baton"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_config_in_etc_baton_has_the_directories_of_the_service() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let of = |folder: &str, told: &[(&str, &str)]| {
            let found = Directories::found(&root.join(folder), root, |name| {
                let found = told.iter().find(|(own, _)| *own == name);
                found.map(|(_, value)| value.into())
            });
            let shown = |path: Option<PathBuf>| {
                let path = path.map(|path| path.display().to_string());
                path.map(|path| path.replace(root.to_str().unwrap(), ""))
            };
            (shown(found.runtime), shown(found.state))
        };
        let path = |path: &str| Some(path.to_owned());
        assert_eq!(of("etc/baton", &[]), (None, None));
        fs::create_dir_all(root.join("var/lib")).unwrap();
        std::os::unix::fs::symlink("private/baton", root.join("var/lib/baton")).unwrap();
        assert_eq!(of("etc/baton", &[]), (None, path("/var/lib/baton")));
        fs::create_dir_all(root.join("run/baton")).unwrap();
        let both = (path("/run/baton"), path("/var/lib/baton"));
        assert_eq!(of("etc/baton", &[]), both);
        // Another's config is another's.
        for folder in ["etc", "etc/carbon", "etc/baton/old", "home/baton"] {
            assert_eq!(of(folder, &[]), (None, None), "{folder}");
        }
        // What systemd says holds, wherever the config is.
        let told = [
            ("RUNTIME_DIRECTORY", "/run/a:/run/b"),
            ("STATE_DIRECTORY", "/var/lib/a"),
        ];
        for folder in ["etc", "etc/baton"] {
            assert_eq!(of(folder, &told), (path("/run/a"), path("/var/lib/a")));
        }
        let nonsense = [("RUNTIME_DIRECTORY", ""), ("STATE_DIRECTORY", "relative")];
        assert_eq!(of("etc/baton", &nonsense), both);
        assert_eq!(of("etc", &nonsense), (None, None));
    }
}
