//! Debian packages of Baton in a machine, and a repository that its apt has them from.
//!
//! cargo-deb, which makes those that are shipped (`packaging/build`), would have to be built first, and it wants a release
//! build. So they are made here from the same table of Cargo.toml, by dpkg-deb. Man pages and completions are left out: they
//! are made for a release only, and nothing here looks at them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use memchr::memmem;

use super::guest::{Guest, source, text};

/// In the machine: where packages and apt's settings are.
const REPOSITORY: &str = "/srv/repository";
const APT_CONFIG: &str = "/srv/apt.conf";
const SET_APT_CONFIG: &str = "APT_CONFIG=/srv/apt.conf";
/// What it takes: dpkg-dev's tools don't belong to it.
const PROGRAMS: [&str; 6] = [
    "apt-get",
    "dpkg-deb",
    "dpkg-query",
    "deb-systemd-helper",
    "deb-systemd-invoke",
    "systemd-sysusers",
];

/// A version of the package.
#[derive(Clone, Debug)]
pub struct Package {
    /// What the program says.
    pub version: String,
    /// What makes the package's version higher than others'.
    pub revision: u32,
    pub program: Vec<u8>,
}

impl Package {
    /// With the program that this test was built with.
    pub fn built() -> Package {
        let folder = tempfile::tempdir().unwrap();
        let stripped = folder.path().join("baton");
        // Most of a debug build is what debuggers want to know.
        let strip = Command::new("strip")
            .args(["--strip-debug", "-o"])
            .arg(&stripped)
            .arg(env!("CARGO_BIN_EXE_baton"))
            .status();
        let program = if strip.is_ok_and(|status| status.success()) {
            fs::read(stripped)
        } else {
            fs::read(env!("CARGO_BIN_EXE_baton"))
        };
        Package {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: 1,
            program: program.unwrap(),
        }
    }

    /// The next version: the same program, which says another number.
    pub fn next(&self) -> Package {
        let (rest, last) = self.version.split_at(self.version.len() - 1);
        // As many bytes, so that all else stays in its place.
        let last = (last.parse::<u8>().unwrap() + 1) % 10;
        let version = format!("{rest}{last}");
        let mut program = self.program.clone();
        let places: Vec<usize> = memmem::find_iter(&program, &self.version).collect();
        for at in places {
            program[at..at + version.len()].copy_from_slice(version.as_bytes());
        }
        assert_ne!(program, self.program);
        Package {
            version,
            revision: self.revision + 1,
            program,
        }
    }

    /// The package's version.
    pub fn full_version(&self) -> String {
        format!("{}-{}", env!("CARGO_PKG_VERSION"), self.revision)
    }

    /// The control file.
    fn control(&self, table: &toml::Table, architecture: &str) -> String {
        let told = |key: &str| table[key].as_str().unwrap();
        // What the program is linked with, which is here, or this test wouldn't run.
        let depends = told("depends").replace("$auto", "libc6");
        format!(
            "Package: baton\nVersion: {}\nArchitecture: {architecture}\nMaintainer: {}\nSection: {}\nPriority: {}\n\
             Depends: {depends}\nDescription: Baton\n",
            self.full_version(),
            told("maintainer"),
            told("section"),
            told("priority"),
        )
    }

    /// Lays out what the package installs below a folder.
    fn lay_out(&self, table: &toml::Table, architecture: &str, root: &Path) {
        let texts = |key: &str| {
            let all = table[key].as_array().unwrap().iter();
            all.map(|one| one.as_str().unwrap().to_owned())
        };
        for asset in table["assets"].as_array().unwrap() {
            let [from, to, mode] = [0, 1, 2].map(|index| asset[index].as_str().unwrap());
            let mode = u32::from_str_radix(mode, 8).unwrap();
            if from == "target/release/baton" {
                put(&root.join(to).join("baton"), &self.program, mode);
                continue;
            }
            if from.starts_with("target/package/") {
                continue;
            }
            for file in matching(from) {
                let mut path = root.join(to);
                if to.ends_with('/') {
                    path.push(file.file_name().unwrap());
                }
                put(&path, &fs::read(file).unwrap(), mode);
            }
        }
        let conf_files: Vec<String> = texts("conf-files").collect();
        for conf_file in &conf_files {
            // Another in each version.
            let path = root.join(conf_file.trim_start_matches('/'));
            let mut content = fs::read(&path).unwrap();
            content.extend(format!("# as of {}\n", self.version).into_bytes());
            put(&path, &content, 0o644);
        }
        let meta = root.join("DEBIAN");
        put(
            &meta.join("conffiles"),
            (conf_files.join("\n") + "\n").as_bytes(),
            0o644,
        );
        let control = self.control(table, architecture);
        put(&meta.join("control"), control.as_bytes(), 0o644);
        let scripts = source(table["maintainer-scripts"].as_str().unwrap());
        for script in ["preinst", "postinst", "prerm", "postrm"] {
            if let Ok(text) = fs::read(scripts.join(script)) {
                put(&meta.join(script), &text, 0o755);
            }
        }
    }
}

/// What a machine's apt has packages from: this, and nothing else.
#[derive(Debug)]
pub struct Repository {
    table: toml::Table,
    architecture: String,
}

impl Repository {
    /// `None` where the machine has no apt: then that is told.
    pub fn found(guest: &Guest) -> Option<Repository> {
        for program in PROGRAMS {
            if !guest.run(&["which", program]).status.success() {
                eprintln!("SKIPPED: no package was tried, there is no {program}");
                return None;
            }
        }
        let manifest = fs::read_to_string(source("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let table = manifest["package"]["metadata"]["deb"]
            .as_table()
            .unwrap()
            .clone();
        let architecture = guest.ok(&["dpkg", "--print-architecture"]);
        // Without what others have apt do at each upgrade. A conffile that both sides have changed stays the operator's, as
        // where nobody is there to be asked.
        guest.write(
            APT_CONFIG,
            "Dir::Etc::Parts \"/dev/null\";\nDir::Etc::Main \"/dev/null\";\nDir::Etc::SourceParts \"/dev/null\";\n\
             Dir::Etc::SourceList \"/srv/sources.list\";\nDir::Etc::PreferencesParts \"/dev/null\";\n\
             APT::Get::Assume-Yes \"true\";\nDPkg::Options { \"--force-confold\"; };\nDPkg::Use-Pty \"false\";\n",
            0o644,
        );
        guest.write(
            "/srv/sources.list",
            format!("deb [trusted=yes] file:{REPOSITORY} ./\n"),
            0o644,
        );
        let repository = Repository {
            table,
            architecture: architecture.trim().to_owned(),
        };
        let check = guest.run(&Repository::command(&["check"]));
        if !check.status.success() {
            eprintln!("SKIPPED: no package was tried: {}", text(&check));
            return None;
        }
        Some(repository)
    }

    /// Makes a package, the only one that is offered from now on.
    pub fn publish(&self, guest: &Guest, package: &Package) {
        let root = guest.path("/srv/package");
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        package.lay_out(&self.table, &self.architecture, &root);
        let name = format!("baton_{}.deb", package.full_version());
        let file = format!("{REPOSITORY}/{name}");
        guest.ok(&["mkdir", "-p", REPOSITORY]);
        guest.ok(&[
            "dpkg-deb",
            "--build",
            "--root-owner-group",
            "-Znone",
            "/srv/package",
            &file,
        ]);
        let sum = guest.ok(&["sha256sum", &file]);
        let (sum, _) = sum.split_once(' ').unwrap();
        let size = fs::metadata(guest.path(&file)).unwrap().len();
        let index = format!(
            "{}Filename: ./{name}\nSize: {size}\nSHA256: {sum}\n",
            package.control(&self.table, &self.architecture)
        );
        guest.write(&format!("{REPOSITORY}/Packages"), index, 0o644);
        self.apt(guest, &["update"]);
    }

    /// What apt-get says to what it is told to do, which must succeed.
    pub fn apt(&self, guest: &Guest, arguments: &[&str]) -> String {
        guest.ok(&Self::command(arguments))
    }

    fn command<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
        let mut command = vec![
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND=noninteractive",
            SET_APT_CONFIG,
            "apt-get",
        ];
        command.extend(arguments);
        command
    }
}

/// How far the package is installed, by dpkg's words.
pub fn state(guest: &Guest) -> String {
    let query = ["dpkg-query", "--show", "--showformat=${Status} ${Version}"];
    text(&guest.run(&[&query[..], &["baton"]].concat()))
}

/// The files of the project that a pattern with a `*` in their name, or none, means.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![source(pattern)];
    };
    let (folder, start) = before.rsplit_once('/').unwrap();
    let files = fs::read_dir(source(folder)).unwrap();
    let found = files.map(|file| file.unwrap()).filter(|file| {
        let name = file.file_name().into_string().unwrap();
        name.starts_with(start) && name.ends_with(after)
    });
    let found: Vec<PathBuf> = found.map(|file| file.path()).collect();
    assert!(!found.is_empty(), "{pattern}");
    found
}

fn put(path: &Path, content: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
